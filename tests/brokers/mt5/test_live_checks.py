"""What is looked at again just before a send, since the feed may be a while behind."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from brokers.mt5.adapter import Mt5Broker
from brokers.simulator.control import Control
from brokers.simulator.faults import AccountSwitched, ClockStepped
from domain.errors import BrokerMismatch, ClockMismatch
from domain.money import Price
from domain.orders import Accepted, NotSent, Side
from domain.watch import CONDITIONS, FindingKind
from tests.brokers.conformance import ASK, BID, order, sends
from tests.waiting import until


class TestLiveChecks:
    terminal = "simulated"

    @pytest.fixture(autouse=True)
    def held_market(self, control: Control) -> None:
        control.hold_market("EURUSD")
        control.tick("EURUSD", BID, ASK)

    @pytest.mark.parametrize(
        ("switch", "value", "reason"),
        [
            ("connected", False, "broker_disconnected"),
            ("trade_allowed", False, "algo_trading_off"),
            ("tradeapi_disabled", True, "python_trading_off"),
            ("account_trade_allowed", False, "account_read_only"),
            ("account_trade_expert", False, "expert_trading_off"),
        ],
    )
    async def test_a_switch_that_is_off_is_named_and_nothing_is_sent(
        self, broker: Mt5Broker, control: Control, switch: str, *, value: bool, reason: str
    ) -> None:
        request = order()
        await broker.connect()
        control.set_switches(**{switch: value})
        refused = await broker.submit(request)
        control.set_switches(**{switch: not value})

        assert isinstance(refused, NotSent)
        assert refused.reason == reason
        assert CONDITIONS[FindingKind(reason)] in refused.detail["mend"]
        assert sends(control, request.magic) == 0
        assert isinstance(await broker.submit(request), Accepted)

    async def test_an_order_sized_by_another_contract_is_not_sent_and_a_close_is(
        self, broker: Mt5Broker, control: Control
    ) -> None:
        (euro,) = [card for card in await broker.read_instruments() if card.symbol == "EURUSD"]
        opened = await broker.submit(order(contract=euro.contract))
        assert isinstance(opened, Accepted)

        control.set_symbol("EURUSD", contract=Decimal(1000))
        request = order(contract=euro.contract)
        refused = await broker.submit(request)
        close = order(side=Side.SELL, position_id=opened.broker_order_id, contract=euro.contract)
        closed = await broker.submit(close)
        control.set_symbol("EURUSD", contract=Decimal(100_000))

        assert isinstance(refused, NotSent)
        assert (refused.reason, refused.detail) == (
            "contract_changed",
            {"contract_size": "1000 instead of 100000"},
        )
        assert sends(control, request.magic) == 0
        assert isinstance(closed, Accepted)
        assert isinstance(await broker.submit(request), Accepted)

    @pytest.mark.parametrize(
        ("terms", "reason"),
        [
            ({"trade_mode": 0}, "trade_disabled"),
            ({"trade_mode": 3}, "close_only"),
            ({"volume_min": "0.5"}, "invalid_volume"),
            ({"volume_max": "0.05"}, "invalid_volume"),
            ({"volume_step": "0.03"}, "invalid_volume"),
            ({"stops_level": 5000}, "invalid_stops"),
        ],
    )
    async def test_what_the_new_terms_of_a_symbol_forbid_is_not_sent(
        self, broker: Mt5Broker, control: Control, terms: dict[str, Any], reason: str
    ) -> None:
        usual = {
            "trade_mode": 4,
            "volume_min": "0.01",
            "volume_max": "100",
            "volume_step": "0.01",
            "stops_level": 0,
        }
        request = order(stop_loss=Price(BID - euro_points(1000)))
        control.set_symbol("EURUSD", **terms)
        refused = await broker.submit(request)
        control.set_symbol("EURUSD", **usual)

        assert isinstance(refused, NotSent)
        assert (refused.reason, refused.detail["check"]) == (reason, "order_check")
        assert sends(control, request.magic) == 0
        assert isinstance(await broker.submit(request), Accepted)

    async def test_an_order_goes_in_the_filling_mode_that_the_symbol_takes_now(
        self, broker: Mt5Broker, control: Control
    ) -> None:
        for flags, filling in ((1, 0), (2, 1), (3, 0)):
            control.set_symbol("EURUSD", filling_flags=flags)
            request = order()
            assert isinstance(await broker.submit(request), Accepted)
            (sent,) = [send for send in control.books().sends if send.magic == request.magic]
            assert sent.request["type_filling"] == filling

    async def test_an_order_in_a_symbol_that_is_gone_is_not_sent(
        self, broker: Mt5Broker, control: Control
    ) -> None:
        request = order()
        control.set_symbol("EURUSD", listed=False)
        refused = await broker.submit(request)
        listed = {card.symbol for card in await broker.read_instruments()}
        control.set_symbol("EURUSD", listed=True)

        assert isinstance(refused, NotSent)
        assert (refused.reason, refused.detail) == ("symbol_vanished", {"symbol": "EURUSD"})
        assert "EURUSD" not in listed
        assert "XAUUSD" in listed
        assert sends(control, request.magic) == 0

    async def test_nothing_is_read_and_nothing_sent_while_another_account_is_shown(
        self, broker: Mt5Broker, control: Control
    ) -> None:
        request, since = order(), datetime.now(UTC) - timedelta(days=1)
        await broker.connect()
        control.happen(AccountSwitched(ms=1500))

        reads = (
            broker.read_account(),
            broker.read_instruments(),
            broker.read_market(("EURUSD",), deals_since=since),
            broker.read_fills(since),
            broker.find(request.magic, since=since),
        )
        for read in reads:
            with pytest.raises(BrokerMismatch, match="shows login 99999"):
                await read
        refused = await broker.submit(request)
        assert isinstance(refused, NotSent)
        assert refused.reason == "account_mismatch"

        async def back() -> bool:
            return isinstance(await broker.submit(request), Accepted)

        await until(back, what="the account to be shown again")
        assert sends(control, request.magic) == 1

    async def test_a_clock_off_its_zone_stops_reads_and_sends_until_it_is_seen_right(
        self, broker: Mt5Broker, control: Control
    ) -> None:
        request, since = order(), datetime.now(UTC) - timedelta(days=1)

        async def look(ask: Decimal) -> None:
            control.tick("EURUSD", BID, ask)
            await broker.read_market(("EURUSD",), deals_since=since)

        await look(ASK)
        control.happen(ClockStepped(hours=1))
        with pytest.raises(ClockMismatch, match="60 min ahead of Europe/Athens"):
            await look(ASK + euro_points(1))
        # A market that stands still says nothing new: the clock stays wrong until it is seen right.
        with pytest.raises(ClockMismatch):
            await broker.read_market(("EURUSD",), deals_since=since)
        with pytest.raises(ClockMismatch):
            await broker.read_fills(since)
        refused = await broker.submit(request)
        assert isinstance(refused, NotSent)
        assert refused.reason == "clock_mismatch"

        control.happen(ClockStepped(hours=-1))
        await look(ASK + euro_points(2))
        assert isinstance(await broker.submit(request), Accepted)
        assert sends(control, request.magic) == 1


def euro_points(count: int) -> Decimal:
    return count * Decimal("0.00001")
