"""What every Broker does, whatever terminal it talks to. A subclass gives the fixtures `broker` and `control`."""

import itertools
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from brokers.protocol import Broker, CommandDone, CommandRefused
from brokers.simulator.control import Control
from brokers.simulator.faults import AnswerLost, DoneLater, Partial, Placed, Reject
from domain.fills import Entry, FillKind, filled_lots
from domain.money import Lots, Price
from domain.orders import (
    Accepted,
    BrokerOrderState,
    Changes,
    NotSent,
    OrderRequest,
    OrderType,
    Rejected,
    Side,
    TimeInForce,
    Unresolved,
)
from tests.waiting import until

BID, ASK = Price(Decimal("1.10000")), Price(Decimal("1.10010"))
_magics = itertools.count(time.time_ns() // 1_000_000)


def order(**fields: Any) -> OrderRequest:
    """A market order for 0.1 EURUSD at the held quote, under a magic of its own."""
    now = datetime.now(UTC)
    side = fields.get("side", Side.BUY)
    given = {
        "magic": next(_magics),
        "symbol": "EURUSD",
        "side": side,
        "order_type": OrderType.MARKET,
        "volume": Lots(Decimal("0.1")),
        "time_in_force": TimeInForce.GTC,
        "price": None,
        "stop_limit_price": None,
        "stop_loss": None,
        "take_profit": None,
        "expires_at": None,
        "position_id": None,
        "reference_price": ASK if side is Side.BUY else BID,
        "collar_points": 20,
        "since": now,
        "submit_by": now + timedelta(seconds=10),
        "comment": "conformance",
    }
    return OrderRequest(**(given | fields))


def limit(**fields: Any) -> OrderRequest:
    """A buy limit far below the market."""
    price = Price(Decimal("1.05"))
    return order(order_type=OrderType.LIMIT, price=price, reference_price=price, **fields)


def sends(control: Control, magic: int) -> int:
    return sum(1 for send in control.books().sends if send.magic == magic)


class BrokerConformance:
    @pytest.fixture(autouse=True)
    def held_market(self, control: Control) -> None:
        control.clear_faults()
        control.hold_market("EURUSD")
        control.tick("EURUSD", BID, ASK)

    async def accepted(self, broker: Broker, request: OrderRequest) -> Accepted:
        outcome = await broker.submit(request)
        assert isinstance(outcome, Accepted), outcome
        return outcome

    async def test_a_market_order_comes_back_filled_with_its_deals_and_the_quote_it_met(
        self, broker: Broker
    ) -> None:
        request = order()
        outcome = await self.accepted(broker, request)
        assert outcome.order is not None
        assert outcome.order.state is BrokerOrderState.FILLED
        assert outcome.order.magic == request.magic
        assert filled_lots(outcome.fills, broker_order_id=outcome.broker_order_id) == request.volume
        assert {(fill.kind, fill.entry, fill.magic, fill.price) for fill in outcome.fills} == {
            (FillKind.TRADE, Entry.IN, request.magic, ASK)
        }
        assert outcome.quote is not None
        assert (outcome.quote.bid, outcome.quote.ask) == (BID, ASK)
        assert all(abs(fill.executed_at - datetime.now(UTC)) < timedelta(minutes=1) for fill in outcome.fills)

    async def test_an_order_deeper_than_the_book_comes_back_with_every_deal(self, broker: Broker) -> None:
        request = order(volume=Lots(Decimal("2.5")))
        outcome = await self.accepted(broker, request)
        assert len(outcome.fills) > 1
        assert filled_lots(outcome.fills, broker_order_id=outcome.broker_order_id) == request.volume

    async def test_a_repeated_order_is_adopted_instead_of_sent(self, broker: Broker, control: Control) -> None:
        request = order()
        first = await self.accepted(broker, request)
        second = await self.accepted(broker, request)
        assert second.broker_order_id == first.broker_order_id
        assert second.fills == first.fills
        assert sends(control, request.magic) == 1

    async def test_a_limit_order_works_is_modified_and_is_cancelled(self, broker: Broker) -> None:
        request = limit(stop_loss=Price(Decimal("1.04")))
        outcome = await self.accepted(broker, request)
        assert outcome.order is not None
        assert outcome.order.state is BrokerOrderState.WORKING
        assert outcome.fills == ()
        moved = await broker.modify_order(outcome.broker_order_id, Changes(price=Price(Decimal("1.06"))))
        assert isinstance(moved, CommandDone)
        (live,) = (await broker.find(request.magic, since=request.since)).orders
        assert (live.price, live.stop_loss) == (Decimal("1.06"), Decimal("1.04"))
        assert isinstance(await broker.cancel(outcome.broker_order_id), CommandDone)
        (past,) = (await broker.find(request.magic, since=request.since)).history_orders
        assert past.state is BrokerOrderState.CANCELLED
        assert isinstance(await broker.cancel(outcome.broker_order_id), CommandDone)

    async def test_a_filled_order_cannot_be_cancelled(self, broker: Broker) -> None:
        outcome = await self.accepted(broker, order())
        assert await broker.cancel(outcome.broker_order_id) == CommandRefused(reason="order_filled", retcode=None)

    async def test_changing_one_level_of_a_position_keeps_the_other(self, broker: Broker) -> None:
        request = order(stop_loss=Price(Decimal("1.09")))
        position_id = (await self.accepted(broker, request)).fills[0].position_id
        done = await broker.modify_position(position_id, Changes(take_profit=Price(Decimal("1.2"))))
        assert isinstance(done, CommandDone)
        (position,) = (await broker.find(request.magic, since=request.since)).positions
        assert (position.stop_loss, position.take_profit) == (Decimal("1.09"), Decimal("1.2"))
        gone = await broker.modify_position(1, Changes(stop_loss=Price(Decimal("1.09"))))
        assert isinstance(gone, CommandRefused)

    async def test_a_close_names_its_position_and_never_exceeds_it(self, broker: Broker, control: Control) -> None:
        position_id = (await self.accepted(broker, order())).fills[0].position_id
        too_much = order(side=Side.SELL, position_id=position_id, volume=Lots(Decimal("0.2")))
        refused = await broker.submit(too_much)
        assert isinstance(refused, NotSent)
        assert refused.reason == "close_volume"
        wrong_way = await broker.submit(order(side=Side.BUY, position_id=position_id))
        assert isinstance(wrong_way, NotSent)
        assert wrong_way.reason == "close_side"
        closed = await self.accepted(broker, order(side=Side.SELL, position_id=position_id))
        assert {(fill.entry, fill.position_id) for fill in closed.fills} == {(Entry.OUT, position_id)}
        late = order(side=Side.SELL, position_id=position_id)
        gone = await broker.submit(late)
        assert isinstance(gone, NotSent)
        assert gone.reason == "position_closed"
        assert sends(control, late.magic) == sends(control, too_much.magic) == 0

    async def test_a_price_beyond_the_collar_is_not_sent(self, broker: Broker, control: Control) -> None:
        request = order(collar_points=5)
        control.tick("EURUSD", BID + Decimal("0.00006"), ASK + Decimal("0.00006"))
        outcome = await broker.submit(request)
        assert isinstance(outcome, NotSent)
        assert outcome.reason == "price_collar"
        assert outcome.detail == {
            "reference_price": "1.10010",
            "live_price": "1.10016",
            "worse_points": "6",
            "collar_points": "5",
        }
        assert sends(control, request.magic) == 0

    async def test_an_order_past_its_time_is_not_sent(self, broker: Broker, control: Control) -> None:
        request = order(submit_by=datetime.now(UTC) - timedelta(milliseconds=1))
        outcome = await broker.submit(request)
        assert isinstance(outcome, NotSent)
        assert outcome.reason == "submit_deadline"
        assert sends(control, request.magic) == 0

    async def test_what_the_margin_cannot_carry_is_not_sent(self, broker: Broker, control: Control) -> None:
        request = order(symbol="XAUUSD", volume=Lots(Decimal(90)), collar_points=10_000_000)
        outcome = await broker.submit(request)
        assert isinstance(outcome, NotSent)
        assert outcome.reason == "no_money"
        assert outcome.detail["check"] == "order_check"
        assert sends(control, request.magic) == 0

    @pytest.mark.parametrize(
        ("retcode", "reason"), [(10004, "requote"), (10006, "reject"), (10018, "market_closed")]
    )
    async def test_a_refusal_of_the_broker_is_rejected_with_its_code(
        self, broker: Broker, control: Control, retcode: int, reason: str
    ) -> None:
        request = order()
        control.script("EURUSD", [Reject(retcode=retcode)])
        refused = Rejected(reason=reason, retcode=retcode, repeatable=reason == "requote")
        assert await broker.submit(request) == refused
        assert sends(control, request.magic) == 1

    @pytest.mark.parametrize("retcode", [10007, 10011, 10012, 10031, 19_999])
    async def test_an_answer_that_proves_nothing_is_unresolved_and_its_sender_dead(
        self, broker: Broker, control: Control, retcode: int
    ) -> None:
        request = order()
        began_at = datetime.now(UTC)
        control.script("EURUSD", [Reject(retcode=retcode)])
        outcome = await broker.submit(request)
        assert isinstance(outcome, Unresolved)
        assert outcome.retcode == retcode
        assert outcome.sender_ended_at is not None
        assert began_at < outcome.sender_ended_at < datetime.now(UTC)
        assert sends(control, request.magic) == 1

    @pytest.mark.parametrize("executed", [True, False])
    async def test_a_lost_answer_is_unresolved_and_the_search_shows_the_truth(
        self, broker: Broker, control: Control, *, executed: bool
    ) -> None:
        request = order()
        control.script("EURUSD", [AnswerLost(executed=executed)])
        outcome = await broker.submit(request)
        assert isinstance(outcome, Unresolved)
        assert outcome.sender_ended_at is not None
        lookup = await broker.find(request.magic, since=request.since)
        assert lookup.in_sync
        assert bool(lookup.fills) is bool(lookup.history_orders) is bool(lookup.positions) is executed
        again = await broker.submit(request)
        assert isinstance(again, Accepted)
        assert control.counts()[request.magic] == 1
        assert sends(control, request.magic) == (1 if executed else 2)

    async def test_an_accepted_order_whose_deals_lag_is_found_with_them_later(
        self, broker: Broker, control: Control
    ) -> None:
        for fault in (Placed(after_ms=400, parts=2), DoneLater(after_ms=400)):
            request = order()
            control.script("EURUSD", [fault])
            outcome = await self.accepted(broker, request)
            assert outcome.fills == ()

            async def filled(request: OrderRequest = request, ticket: int = outcome.broker_order_id) -> bool:
                lookup = await broker.find(request.magic, since=request.since)
                return filled_lots(lookup.fills, broker_order_id=ticket) == request.volume

            await until(filled, what="the deals of an accepted order")

    async def test_a_partial_fill_says_what_was_executed(self, broker: Broker, control: Control) -> None:
        request = order(volume=Lots(Decimal("0.4")))
        control.script("EURUSD", [Partial(fraction=Decimal("0.25"))])
        outcome = await self.accepted(broker, request)
        assert outcome.retcode == 10010
        assert outcome.order is not None
        assert outcome.order.state is BrokerOrderState.CANCELLED
        assert filled_lots(outcome.fills, broker_order_id=outcome.broker_order_id) == Decimal("0.1")

    async def test_history_holds_the_deposit_and_every_deal_once(self, broker: Broker, control: Control) -> None:
        await self.accepted(broker, order())
        since = datetime.now(UTC) - timedelta(days=1)
        fills = await broker.read_fills(since)
        assert sorted(fill.ticket for fill in fills) == sorted(deal.ticket for deal in control.books().deals)
        assert FillKind.BALANCE in {fill.kind for fill in fills}
        market = await broker.read_market(("EURUSD", "NOSUCH"), deals_since=since)
        assert market.deal_count == len(fills)
        assert [(quote.symbol, quote.bid, quote.ask) for quote in market.quotes] == [("EURUSD", BID, ASK)]
        assert market.account.balance == sum(fill.cash for fill in fills)

    async def test_nothing_is_found_under_a_magic_that_was_never_sent(self, broker: Broker) -> None:
        lookup = await broker.find(next(_magics), since=datetime.now(UTC))
        assert (lookup.orders, lookup.positions, lookup.history_orders, lookup.fills) == ((), (), (), ())
        assert lookup.in_sync

    async def test_instruments_carry_the_steps_that_orders_are_checked_against(self, broker: Broker) -> None:
        instruments = {instrument.symbol: instrument for instrument in await broker.read_instruments()}
        euro = instruments["EURUSD"]
        assert (euro.digits, euro.point, euro.volume_step) == (5, Decimal("0.00001"), Decimal("0.01"))
        assert OrderType.STOP_LIMIT in euro.order_types

    async def test_a_retired_sender_is_replaced_at_the_next_call(self, broker: Broker) -> None:
        ended_at = await broker.retire_sender()
        assert ended_at <= datetime.now(UTC)
        assert (await broker.read_account()).permissions.connected
