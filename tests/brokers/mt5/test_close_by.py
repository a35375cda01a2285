"""A close of one position by another: just the lots that were asked for, or nothing is sent."""

from decimal import Decimal

import pytest

from brokers.mt5.adapter import Mt5Broker
from brokers.mt5.constants import Action
from brokers.simulator.control import Control
from domain.fills import Entry
from domain.money import Lots
from domain.orders import Accepted, NotSent, OrderRequest, Side
from tests.brokers.conformance import ASK, BID, order, sends

LONG, SHORT = Lots(Decimal("0.3")), Lots(Decimal("0.1"))


async def opened(broker: Mt5Broker, side: Side, volume: Lots) -> int:
    outcome = await broker.submit(order(side=side, volume=volume))
    assert isinstance(outcome, Accepted), outcome
    return outcome.broker_order_id


def closing_by(position_id: int, partner_id: int, *, volume: Lots = SHORT) -> OrderRequest:
    return order(side=Side.SELL, volume=volume, position_id=position_id, close_by_position_id=partner_id)


class TestCloseBy:
    terminal = "simulated"

    @pytest.fixture(autouse=True)
    def held_market(self, control: Control) -> None:
        control.hold_market("EURUSD")
        control.tick("EURUSD", BID, ASK)

    async def test_both_fills_come_with_the_answer_and_with_a_search(
        self, broker: Mt5Broker, control: Control
    ) -> None:
        long, short = await opened(broker, Side.BUY, LONG), await opened(broker, Side.SELL, SHORT)
        request = closing_by(long, short)

        outcome = await broker.submit(request)
        found = await broker.find(request.magic, since=request.since)

        assert isinstance(outcome, Accepted)
        assert outcome.order is not None
        assert (outcome.order.side, outcome.order.volume, outcome.order.remaining) == (None, SHORT, 0)
        fills = [(f.position_id, f.entry, f.side, f.volume) for f in outcome.fills]
        assert fills == [(long, Entry.OUT_BY, "sell", SHORT), (short, Entry.OUT_BY, "buy", SHORT)]
        assert [o.broker_order_id for o in found.history_orders] == [outcome.broker_order_id]
        assert found.fills == outcome.fills
        (sent,) = [send for send in control.books().sends if send.magic == request.magic]
        assert sent.request["action"] == Action.CLOSE_BY
        assert (sent.request["position"], sent.request["position_by"]) == (long, short)

    @pytest.mark.parametrize("volume", ["0.05", "0.2"], ids=["more in common", "less in common"])
    async def test_other_lots_in_common_than_were_asked_for_are_not_closed(
        self, broker: Mt5Broker, control: Control, volume: str
    ) -> None:
        long, short = await opened(broker, Side.BUY, LONG), await opened(broker, Side.SELL, SHORT)
        request = closing_by(long, short, volume=Lots(Decimal(volume)))

        refused = await broker.submit(request)

        assert isinstance(refused, NotSent)
        assert (refused.reason, refused.detail) == ("close_by_volume", {"volume": volume, "common_volume": "0.1"})
        assert sends(control, request.magic) == 0

    async def test_a_position_that_is_gone_or_on_the_same_side_closes_nothing(
        self, broker: Mt5Broker, control: Control
    ) -> None:
        long, other = await opened(broker, Side.BUY, LONG), await opened(broker, Side.BUY, SHORT)
        for partner, reason in ((7, "position_closed"), (other, "close_by_pair")):
            request = closing_by(long, partner)
            refused = await broker.submit(request)
            assert isinstance(refused, NotSent)
            assert refused.reason == reason
            assert sends(control, request.magic) == 0
