"""The trap: an answer that did not come, or that says little, is taken for a definite one.

The order is then sent again, or a live position is left without an owner.
"""

from dataclasses import dataclass
from decimal import Decimal

import pytest

from brokers.simulator.faults import (
    AnswerLost,
    CommentRewritten,
    Fault,
    HistoryLag,
    NoLink,
    Partial,
    Placed,
    StopOut,
    Timeout,
)
from db.trades import Trade
from domain.orders import OrderIntent, OrderState
from tests.desk import Desk
from tests.factories import lots
from tests.waiting import until
from tests.workflows.asking import event_kinds, reservation_state, sends_of


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What the broker has of a trade in the end."""

    trade: Trade
    sends: int
    executions: int
    deals: int


async def sent(desk: Desk, intent: OrderIntent) -> Sent:
    trade = await desk.settled(intent)
    books = desk.control.books()
    magic = trade.progress.magic
    return Sent(
        trade=trade,
        sends=len(sends_of(desk, trade)),
        executions=desk.control.counts().get(magic, 0),
        deals=len([deal for deal in books.deals if deal.magic == magic and deal.entry == 0]),
    )


async def booked_once(desk: Desk, intent: OrderIntent, *, deals: int) -> None:
    rows = await desk.rows(
        "SELECT ticket, count(*) AS revisions FROM fills WHERE trade_id = :id GROUP BY ticket", id=intent.trade_id
    )
    assert [row["revisions"] for row in rows] == [1] * deals


async def execute_under(desk: Desk, *faults: Fault) -> OrderIntent:
    desk.control.script("EURUSD", [list(faults)])
    intent = desk.intent()
    await desk.execute(intent)
    return intent


async def test_an_answer_lost_after_execution_ends_with_exactly_one_position(shared_desk: Desk) -> None:
    intent = await execute_under(shared_desk, AnswerLost(executed=True))

    found = await sent(shared_desk, intent)

    assert (found.trade.state, found.sends, found.executions) == (OrderState.FILLED, 1, 1)
    assert "trade.outcome_lost" in await event_kinds(shared_desk, intent.trade_id)
    await booked_once(shared_desk, intent, deals=1)


async def test_it_does_so_when_the_broker_has_overwritten_the_comment(shared_desk: Desk) -> None:
    rewritten = CommentRewritten(text="Request executed")
    intent = await execute_under(shared_desk, AnswerLost(executed=True), rewritten)

    found = await sent(shared_desk, intent)

    assert (found.trade.state, found.sends, found.executions) == (OrderState.FILLED, 1, 1)


async def test_it_does_so_when_the_position_was_stopped_out_before_anybody_looked(shared_desk: Desk) -> None:
    desk = shared_desk
    # Hidden until it is gone again, so that only history can tell of it.
    desk.control.script("EURUSD", [[AnswerLost(executed=True), HistoryLag(ms=900)]])
    intent = desk.intent()
    before = {position.ticket for position in desk.control.books().positions}
    await desk.execute(intent)
    (mine,) = [p.ticket for p in desk.control.books().positions if p.ticket not in before]
    desk.control.happen(StopOut(ticket=mine), symbol="EURUSD")

    found = await sent(desk, intent)

    assert (found.trade.state, found.sends, found.executions) == (OrderState.FILLED, 1, 1)
    assert mine not in {position.ticket for position in desk.control.books().positions}

    async def exit_booked() -> bool:
        lines = await desk.rows(
            "SELECT 1 FROM fill_allocations WHERE trade_id = :id AND role = 'close'", id=intent.trade_id
        )
        return len(lines) == 1

    await until(exit_booked, what="the stop-out to be booked to its opener")


async def test_a_market_order_answered_with_placed_is_no_failure(shared_desk: Desk) -> None:
    intent = await execute_under(shared_desk, Placed(after_ms=400))

    found = await sent(shared_desk, intent)

    assert (found.trade.state, found.sends, found.executions) == (OrderState.FILLED, 1, 1)
    assert await reservation_state(shared_desk, intent) == "settled"


async def test_a_market_order_filled_in_part_keeps_its_part_and_frees_the_rest(shared_desk: Desk) -> None:
    intent = await execute_under(shared_desk, Partial(fraction=Decimal("0.4")))

    found = await sent(shared_desk, intent)

    assert (found.trade.state, found.trade.progress.filled_volume) == (OrderState.CANCELLED, lots("0.04"))
    assert (found.sends, found.executions) == (1, 1)
    claimed = await shared_desk.rows(
        "SELECT cause, sum(volume) AS lots FROM risk_adjustments WHERE trade_id = :id GROUP BY cause"
        " ORDER BY min(id)",
        id=intent.trade_id,
    )
    assert claimed[0] == {"cause": "held", "lots": lots("0.10")}
    assert sum(row["lots"] for row in claimed) in (lots("0.04"), Decimal(0)), "the rest is free"


@pytest.mark.parametrize(
    ("fault", "executed"),
    [
        (Timeout(executed=True), True),
        (Timeout(executed=True, after_ms=700), True),
        (Timeout(executed=False), False),
        (NoLink(executed=True), True),
        (NoLink(executed=True, after_ms=700), True),
        (NoLink(), False),
    ],
    ids=[
        "timeout, executed at once",
        "timeout, executed later",
        "timeout, never",
        "no link, executed at once",
        "no link, executed later",
        "no link, never",
    ],
)
async def test_a_timeout_or_a_missing_link_is_never_sent_again_without_evidence(
    shared_desk: Desk, fault: Fault, *, executed: bool
) -> None:
    intent = await execute_under(shared_desk, fault)

    found = await sent(shared_desk, intent)

    assert found.sends == 1
    assert found.executions == (1 if executed else 0)
    assert found.trade.state is (OrderState.FILLED if executed else OrderState.REJECTED)
