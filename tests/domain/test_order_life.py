"""The whole life of an order against a model of the broker that knows nothing of our rules.

Longer: `make check ARGS="tests/domain/test_order_life.py --hypothesis-profile=long"`.
"""

from decimal import Decimal
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from domain.money import Lots
from domain.orders import (
    FINAL_STATES,
    LATE_FILLS,
    BrokerOrderState,
    OrderEvent,
    OrderState,
    fill_event,
    next_state,
)
from domain.trades import event_from_books
from tests.factories import make_order

LOT = Decimal("0.01")
VOLUME = 10


class OrderLife(RuleBasedStateMachine):
    """The broker's side: an order of ten lots, and deals of it by number. Ours: a state, and the deals booked."""

    def __init__(self) -> None:
        super().__init__()
        self.order: BrokerOrderState | None = None
        self.executed: dict[int, int] = {}
        self.cancelled: set[int] = set()
        self.booked: dict[int, bool] = {}
        self.state = OrderState.PENDING
        self.filled = 0
        self.history: list[tuple[OrderState, OrderEvent]] = []
        self.misjudged = False

    # What the broker does.

    @precondition(lambda self: self.order is None and self.state is OrderState.PENDING)
    @rule(heard=st.sampled_from([OrderEvent.PLACED, OrderEvent.OUTCOME_LOST]))
    def the_broker_takes_the_order(self, heard: OrderEvent) -> None:
        self.order = BrokerOrderState.WORKING
        self.move(heard)

    @precondition(lambda self: self.order is None and self.state is OrderState.PENDING)
    @rule(event=st.sampled_from([OrderEvent.DENIED, OrderEvent.REJECTED]))
    def nothing_is_sent(self, event: OrderEvent) -> None:
        self.move(event)

    @precondition(lambda self: self.order is None and self.state in {OrderState.REJECTED, OrderState.DENIED})
    @rule()
    def the_broker_has_the_order_after_all(self) -> None:
        """A person, or a broker that took its word back, was wrong about it."""
        self.order = BrokerOrderState.WORKING
        self.misjudged = True

    @precondition(lambda self: self.order is BrokerOrderState.WORKING and self.rest > 0)
    @rule(data=st.data())
    def the_broker_executes(self, data: Any) -> None:
        lots = data.draw(st.integers(1, self.rest), label="lots")
        self.executed[len(self.executed) + 1] = lots
        if self.rest == 0:
            self.order = BrokerOrderState.FILLED

    @precondition(lambda self: self.order is BrokerOrderState.WORKING)
    @rule(end=st.sampled_from([BrokerOrderState.CANCELLED, BrokerOrderState.EXPIRED]))
    def the_broker_ends_the_order(self, end: BrokerOrderState) -> None:
        self.order = end

    @precondition(lambda self: self.order in {BrokerOrderState.CANCELLED, BrokerOrderState.EXPIRED} and self.rest)
    @rule()
    def the_broker_executes_after_the_end(self) -> None:
        self.executed[len(self.executed) + 1] = 1

    @precondition(lambda self: set(self.executed) - self.cancelled)
    @rule(data=st.data())
    def the_broker_cancels_a_deal(self, data: Any) -> None:
        live = sorted(set(self.executed) - self.cancelled)
        self.cancelled.add(data.draw(st.sampled_from(live), label="deal"))

    # What we see of it, in any order and as often as it pleases.

    @precondition(lambda self: self.executed)
    @rule(data=st.data())
    def a_deal_is_booked(self, data: Any) -> None:
        number = data.draw(st.sampled_from(sorted(self.executed)), label="deal")
        self.booked[number] = number in self.cancelled
        self.see(order=None)

    @precondition(lambda self: self.order is not None)
    @rule()
    def the_order_is_looked_at(self) -> None:
        self.see(order=self.order)

    def see(self, *, order: BrokerOrderState | None) -> None:
        filled = sum(self.executed[n] for n, gone in self.booked.items() if not gone)
        cancelled = sum(self.executed[n] for n, gone in self.booked.items() if gone)
        event = event_from_books(
            self.state,
            order=None if order is None else make_order(state=order),
            filled=lots(filled),
            cancelled=lots(cancelled),
            booked=lots(self.filled),
            volume=lots(VOLUME),
        )
        self.filled = filled
        if event is not None:
            self.move(event)

    def move(self, event: OrderEvent) -> None:
        self.history.append((self.state, event))
        self.state = next_state(self.state, event)

    @property
    def rest(self) -> int:
        return VOLUME - sum(self.executed.values())

    @invariant()
    def a_final_state_is_left_by_a_late_fill_alone(self) -> None:
        assert all(event in LATE_FILLS for state, event in self.history if state in FINAL_STATES)

    @invariant()
    def nothing_is_filled_behind_a_refusal(self) -> None:
        if self.state in {OrderState.REJECTED, OrderState.DENIED}:
            assert self.filled == 0

    @invariant()
    def filled_was_full_when_it_was_said(self) -> None:
        if self.state is OrderState.FILLED:
            assert self.filled == VOLUME or any(self.booked.values())
        elif not any(self.booked.values()):
            assert self.filled < VOLUME

    @invariant()
    def an_order_that_was_never_taken_is_not_open(self) -> None:
        if self.order is None:
            assert self.state in {OrderState.PENDING, OrderState.REJECTED, OrderState.DENIED}

    def teardown(self) -> None:
        """Once all is seen, the state says what the broker's books say."""
        if self.order is None:
            return
        for number in self.executed:
            self.booked[number] = number in self.cancelled
            self.see(order=None)
        self.see(order=self.order)
        live = sum(lots for n, lots in self.executed.items() if n not in self.cancelled)
        assert self.filled == live
        if self.misjudged:
            assert self.state in FINAL_STATES
        elif self.order is BrokerOrderState.WORKING:
            assert self.state in {OrderState.WORKING, OrderState.PARTIALLY_FILLED, OrderState.FILLED}
        else:
            assert self.state in FINAL_STATES
        if live == VOLUME:
            assert self.state is OrderState.FILLED


def lots(count: int) -> Lots:
    return Lots(LOT * count)


TestOrderLife = OrderLife.TestCase
TestOrderLife.settings = settings(stateful_step_count=30)


def test_the_model_and_the_table_agree_on_what_a_fill_means() -> None:
    for state in OrderState:
        late = state in FINAL_STATES
        assert (fill_event(state, filled=lots(1), volume=lots(VOLUME)) in LATE_FILLS) is late
