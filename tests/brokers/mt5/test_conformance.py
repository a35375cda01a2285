"""The conformance suite over the simulated terminal, directly and through the bridge."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from brokers.mt5.adapter import Mt5Broker
from brokers.protocol import CommandDone
from brokers.simulator.control import Control
from brokers.simulator.faults import (
    AnswerLost,
    Delay,
    DoneLater,
    Fault,
    Hang,
    Placed,
    Reject,
)
from domain.errors import BrokerMismatch, BrokerUnavailable
from domain.fills import Entry, filled_lots
from domain.money import Lots
from domain.orders import Accepted, BrokerOrderState, NotSent, Rejected, Side, Unresolved
from domain.positions import MarginMode
from tests.brokers.conformance import ASK, BID, BrokerConformance, order, sends
from tests.brokers.terminals import LOGIN, SERVER, bridge_to, mt5_broker, simulated_terminal


class TestSimulated(BrokerConformance):
    terminal = "simulated"

    @pytest.mark.parametrize("executed", [True, False])
    async def test_a_send_that_never_returns_is_unresolved_after_the_kill(
        self, broker: Mt5Broker, control: Control, *, executed: bool
    ) -> None:
        await broker.connect()
        hung = broker.sender_pid
        request = order()
        control.script("EURUSD", [Hang(executed=executed)])
        outcome = await broker.submit(request)
        assert isinstance(outcome, Unresolved)
        assert outcome.sender_ended_at is not None
        lookup = await broker.find(request.magic, since=request.since)
        assert bool(lookup.fills) is executed
        assert broker.sender_pid != hung
        assert sends(control, request.magic) == 1

    async def test_a_check_that_never_returns_proves_that_nothing_was_sent(
        self, broker: Mt5Broker, control: Control
    ) -> None:
        request = order()
        control.script("EURUSD", [Hang(executed=False)], op="order_check")
        outcome = await broker.submit(request)
        assert isinstance(outcome, NotSent)
        assert outcome.reason == "broker_unavailable"
        assert sends(control, request.magic) == 0
        assert isinstance(await broker.submit(request), Accepted)

    async def test_whatever_goes_wrong_no_order_executes_twice_and_no_outcome_lies(
        self, broker: Mt5Broker, control: Control
    ) -> None:
        faults: list[Fault] = [
            Reject(retcode=10004),
            Reject(retcode=10012),
            AnswerLost(executed=True),
            AnswerLost(executed=False),
            Placed(after_ms=50),
            DoneLater(after_ms=20),
            Delay(ms=30),
            Hang(executed=True),
        ]
        random.Random(7).shuffle(faults)
        control.script("EURUSD", faults)
        far = datetime.now(UTC) + timedelta(minutes=1)
        requests = [order(submit_by=far) for _ in range(3 * len(faults))]
        first = await asyncio.gather(*(broker.submit(request) for request in requests))
        assert sum(isinstance(outcome, Unresolved) for outcome in first) == 4
        assert max(control.counts().values()) == 1
        for request, outcome in zip(requests, first, strict=True):
            lookup = await broker.find(request.magic, since=request.since)
            match outcome:
                case Accepted():
                    found = {o.broker_order_id for o in lookup.orders + lookup.history_orders}
                    assert found == {outcome.broker_order_id}
                case Rejected() | NotSent():
                    assert not lookup.fills
                case Unresolved():
                    assert outcome.sender_ended_at is not None

    async def test_an_older_lease_sends_nothing(
        self, broker: Mt5Broker, control: Control, address: str, tmp_path: Path
    ) -> None:
        await broker.connect()
        newer = mt5_broker(tmp_path / "newer", path=address, lease_number=2)
        await newer.connect()
        request = order()
        outcome = await broker.submit(request)
        await newer.close()
        assert isinstance(outcome, NotSent)
        assert outcome.reason == "fenced"
        assert control.counts().get(request.magic, 0) == 0


class TestBridged(BrokerConformance):
    terminal = "bridge"

    async def test_a_bridge_refuses_an_older_lease(self, folder: Path, address: str, tmp_path: Path) -> None:
        with bridge_to(address, tmp_path) as served:
            older = mt5_broker(tmp_path / "older", terminal="bridge", path=served, lease_number=5)
            newer = mt5_broker(tmp_path / "newer", terminal="bridge", path=served, lease_number=6)
            await older.connect()
            await newer.connect()
            outcome = await older.submit(order())
            await older.close()
            await newer.close()
        assert isinstance(outcome, NotSent)
        assert outcome.reason == "fenced"


class TestNetting:
    terminal = "simulated"
    options = ("--margin-mode", "netting")

    async def test_an_opposite_order_reverses_and_is_found_by_its_magic_although_the_position_is_older(
        self, broker: Mt5Broker, control: Control
    ) -> None:
        control.hold_market("EURUSD")
        control.tick("EURUSD", BID, ASK)
        first = await broker.submit(order())
        request = order(side=Side.SELL, volume=Lots(Decimal("0.3")))
        second = await broker.submit(request)
        assert isinstance(first, Accepted)
        assert isinstance(second, Accepted)
        assert [fill.entry for fill in second.fills] == [Entry.INOUT]
        assert {fill.position_id for fill in first.fills + second.fills} == {first.broker_order_id}
        again = await broker.submit(request)
        assert isinstance(again, Accepted)
        assert again.broker_order_id == second.broker_order_id
        market = await broker.read_market(("EURUSD",), deals_since=request.since)
        assert market.account.margin_mode is MarginMode.NETTING
        assert [(position.side, position.volume) for position in market.positions] == [(Side.SELL, Decimal("0.2"))]

    async def test_what_a_thin_book_leaves_of_a_market_order_keeps_working_until_it_is_cancelled(
        self, broker: Mt5Broker, control: Control
    ) -> None:
        control.hold_market("US500")
        control.tick("US500", Decimal(5000), Decimal(5001))
        request = order(symbol="US500", volume=Lots(Decimal(9)), collar_points=10_000_000)
        outcome = await broker.submit(request)
        assert isinstance(outcome, Accepted)
        assert outcome.order is not None
        assert outcome.order.state is BrokerOrderState.WORKING
        filled = filled_lots(outcome.fills, broker_order_id=outcome.broker_order_id)
        assert 0 < filled == outcome.order.volume - outcome.order.remaining < request.volume
        assert isinstance(await broker.cancel(outcome.broker_order_id), CommandDone)
        lookup = await broker.find(request.magic, since=request.since)
        assert [past.state for past in lookup.history_orders] == [BrokerOrderState.CANCELLED]
        assert lookup.fills == outcome.fills


class TestAttachment:
    async def test_another_account_is_refused(self, folder: Path, address: str) -> None:
        broker = mt5_broker(folder, path=address, login=LOGIN + 1, password="wrong")
        with pytest.raises(BrokerMismatch, match=f"shows account {LOGIN} at {SERVER}"):
            await broker.connect()
        outcome = await broker.submit(order())
        await broker.close()
        assert isinstance(outcome, NotSent)
        assert outcome.reason == "account_mismatch"

    async def test_no_terminal_means_no_answer(self, tmp_path: Path) -> None:
        broker = mt5_broker(tmp_path, path="127.0.0.1:1")
        with pytest.raises(BrokerUnavailable, match="no terminal on"):
            await broker.connect()
        outcome = await broker.submit(order())
        await broker.close()
        assert isinstance(outcome, NotSent)
        assert outcome.reason == "broker_unavailable"

    async def test_the_native_package_is_missing_on_this_system(self, tmp_path: Path) -> None:
        broker = mt5_broker(tmp_path, terminal="native", path=None)
        with pytest.raises(BrokerUnavailable, match="no terminal package"):
            await broker.connect()
        await broker.close()

    async def test_a_restarted_terminal_is_attached_anew(self, tmp_path: Path) -> None:
        broker = None
        try:
            with simulated_terminal(tmp_path) as address:
                broker = mt5_broker(tmp_path, path=address)
                await broker.connect()
                pid = broker.sender_pid
            with pytest.raises(BrokerUnavailable):
                await broker.read_account()
            with simulated_terminal(tmp_path, "--port", address.rpartition(":")[2]):
                assert (await broker.read_account()).login == LOGIN
                assert broker.sender_pid == pid
        finally:
            if broker is not None:
                await broker.close()
