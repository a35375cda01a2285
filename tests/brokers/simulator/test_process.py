"""The terminal as a process, seen through the package's surface."""

import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from brokers.simulator import MetaTrader5 as mt5  # noqa: N813 # as everybody calls it
from brokers.simulator.client import Address, Connection, fence
from brokers.simulator.control import Control, ControlRefused
from brokers.simulator.faults import AnswerLost, Delay, Hang, Placed
from brokers.simulator.market import Side
from tests.brokers.simulator.bench import Process, run_to_end, wait_for
from tests.brokers.simulator.test_feed import RECORDED, recorded

Start = Callable[..., Process]
BUY: dict[str, Any] = {"action": 1, "symbol": "EURUSD", "volume": 0.1, "type": 0, "type_filling": 1, "magic": 7}


def attach(process: Process, **credentials: Any) -> Control:
    """The package's session on this terminal, and a hand on its market, which stands still."""
    assert mt5.initialize(process.address, **credentials), mt5.last_error()
    control = process.control()
    control.hold_market()
    control.tick("EURUSD", "1.10000", "1.10010")
    return control


def test_a_script_trades_and_finds_its_trade_everywhere(start: Start) -> None:
    with attach(start(), login=50001, server="Simulated-Demo", password="any"):
        assert mt5.positions_get() == ()
        result = mt5.order_send(BUY)
        assert result is not None
        assert (result.retcode, result.request.magic, result.request.volume) == (10009, 7, 0.1)
        assert mt5.last_error() == (1, "Success")
        assert [p.ticket for p in mt5.positions_get(symbol="EURUSD")] == [result.order]
        assert mt5.positions_get(ticket=result.order)[0].magic == 7
        assert mt5.positions_get(group="*,!EUR*") == ()
        assert mt5.positions_total() == 1
        assert [o.magic for o in mt5.history_orders_get(ticket=result.order)] == [7]
        now = int(time.time())
        deals = mt5.history_deals_get(now - 2 * 86_400, now + 2 * 86_400)
        assert [deal.entry for deal in deals if deal.order == result.order] == [0]
        account = mt5.account_info()
        assert account.equity == pytest.approx(account.balance + account.profit)
        assert type(account.margin) is float
        assert type(account.trade_allowed) is bool


def test_market_data_comes_as_arrays(start: Start) -> None:
    with attach(start()) as control:
        control.tick("EURUSD", "1.10020", "1.10030")
        assert mt5.symbol_info("EURUSD").bid == mt5.symbol_info_tick("EURUSD").bid == 1.1002
        assert mt5.symbol_info("NOSUCH") is None
        assert mt5.last_error() == (-4, "Terminal: Not found")
        rates = mt5.copy_rates_from_pos("EURUSD", mt5.TIMEFRAME_D1, 0, 5)
        assert rates.dtype.names[:5] == ("time", "open", "high", "low", "close")
        assert rates["close"][-1] == 1.1002
        ticks = mt5.copy_ticks_from("EURUSD", 1_000_000_000, 1000, mt5.COPY_TICKS_ALL)
        assert ticks["bid"][-1] == 1.1002
        assert len(mt5.copy_ticks_from("EURUSD", 1_000_000_000, 1000, mt5.COPY_TICKS_TRADE)) == 0
        assert mt5.market_book_get("EURUSD") is None
        assert mt5.market_book_add("EURUSD")
        assert len(mt5.market_book_get("EURUSD")) == 20
        assert [s.name for s in mt5.symbols_get("*JPY")] == ["USDJPY"]


def test_wrong_credentials_are_refused(start: Start) -> None:
    process = start("--password", "right")
    assert not mt5.initialize(process.address, login=1)
    assert mt5.last_error() == (-6, "Terminal: Authorization failed")
    assert not mt5.initialize(process.address, login=50001, password="wrong")
    assert mt5.initialize(process.address, login=50001, password="right", server="Simulated-Demo")
    assert not mt5.login(50001, "wrong")
    assert mt5.login(50001, password="right")


def test_a_killed_terminal_loses_nothing_and_goes_on_where_it_ended(start: Start) -> None:
    first = start()
    with attach(first) as control:
        opened = mt5.order_send(BUY)
        pending = mt5.order_send({**BUY, "action": 5, "type": 2, "price": 1.09, "type_filling": 2})
        control.script("EURUSD", [Placed(after_ms=60_000)])
        placed = mt5.order_send(BUY)
        before = control.books()
    first.kill()
    assert mt5.order_send(BUY) is None
    assert mt5.last_error()[0] in (-10001, -10002)
    assert mt5.order_send(BUY) is None
    assert mt5.last_error() == (-10004, "No IPC connection")

    with attach(start()) as control:
        after = control.books()
        assert (after.deals, after.positions, after.orders) == (before.deals, before.positions, before.orders)
        assert (after.balance, after.sends) == (before.balance, before.sends)
        assert {order.ticket for order in mt5.orders_get()} == {pending.order, placed.order}
        fresh = mt5.order_send(BUY)
        assert fresh.order > placed.order
        assert (fresh.deal > opened.deal, fresh.request_id) == (True, 1)


def test_an_older_lease_is_fenced_off_for_ever(start: Start) -> None:
    first = start()
    with attach(first) as control:
        fence(5)
        assert mt5.order_send(BUY) is not None
        newer = Connection(Address("127.0.0.1", first.port), connect_seconds=5)
        newer.ask("fence", {"number": 6})
        assert mt5.order_send(BUY) is None
        assert mt5.last_error() == (-1, "Terminal: fenced: lease 5 is older than 6")
        assert mt5.positions_total() == 1  # reading stays allowed
        assert [(send.fence, send.magic) for send in control.books().sends] == [(5, 7), (5, 7)]
        newer.close()
    first.kill()
    with attach(start()):
        assert mt5.order_send(BUY) is None
        fence(6)
        assert mt5.order_send(BUY) is not None


def test_a_connection_that_names_no_lease_may_trade_until_there_is_one(start: Start) -> None:
    process = start()
    with attach(process):
        assert mt5.order_send(BUY) is not None
        other = Connection(Address("127.0.0.1", process.port), connect_seconds=5)
        other.ask("fence", {"number": 1})
        assert mt5.order_send(BUY) is None
        assert mt5.last_error()[1] == "Terminal: fenced: lease none is older than 1"
        other.close()


@pytest.mark.parametrize("executed", [True, False])
def test_a_lost_answer_is_an_unknown_outcome(start: Start, executed: bool) -> None:  # noqa: FBT001
    process = start()
    with attach(process) as control:
        control.script("EURUSD", [AnswerLost(executed=executed)])
        assert mt5.order_send(BUY) is None
        assert mt5.last_error() == (-10002, "IPC recv failed")
        assert mt5.positions_get() is None
        assert mt5.last_error() == (-10004, "No IPC connection")
        assert control.counts() == ({7: 1} if executed else {})
        assert len(control.books().sends) == 1
        assert mt5.initialize(process.address)
        assert mt5.positions_total() == int(executed)


@pytest.mark.parametrize("executed", [True, False])
def test_a_hanging_call_never_returns_and_leaves_others_alone(start: Start, executed: bool) -> None:  # noqa: FBT001
    process = start()
    with attach(process) as control:
        control.script("EURUSD", [Hang(executed=executed)])
        stuck = Connection(Address("127.0.0.1", process.port), connect_seconds=5)
        stuck._socket.settimeout(0.2)
        with pytest.raises(Exception, match="IPC recv failed"):
            stuck.ask("order_send", {"request": BUY})
        stuck.close()
        assert mt5.positions_total() == int(executed)
        assert control.counts() == ({7: 1} if executed else {})


def test_faults_meet_queries_too(start: Start) -> None:
    with attach(start()) as control:
        control.script("*", [AnswerLost(executed=False)], op="positions_get")
        assert mt5.orders_get() == ()
        assert mt5.positions_get() is None
        assert mt5.last_error()[0] == -10002


def test_promised_fills_come_without_ticks_and_delays_delay(start: Start) -> None:
    with attach(start()) as control:
        control.script("EURUSD", [Placed(after_ms=30), Delay(ms=50)])
        placed = mt5.order_send(BUY)
        assert (placed.retcode, mt5.positions_total()) == (10008, 0)
        wait_for(lambda: mt5.positions_total() == 1)
        began = time.monotonic()
        assert mt5.order_send(BUY).retcode == 10009
        assert time.monotonic() - began >= 0.05


def test_hands_in_the_terminal_leave_magic_zero(start: Start) -> None:
    with attach(start()) as control:
        ticket = control.manual_trade("EURUSD", Side.BUY, "0.30")
        assert (mt5.positions_get()[0].magic, mt5.positions_get()[0].reason) == (0, 0)
        ours = mt5.order_send(BUY)
        control.manual_close(ours.order)
        closing = control.books().deals[-1]
        assert (closing.magic, closing.reason, closing.position_id) == (0, 0, ours.order)
        assert [p.ticket for p in mt5.positions_get()] == [ticket]
        assert control.counts() == {0: 1, 7: 1}
        control.deposit("250.50")
        audit = control.books()
        assert audit.balance == sum((deal.money for deal in audit.deals), Decimal(0))
        with pytest.raises(ControlRefused, match="no position 1"):
            control.manual_close(1)


def test_switches_and_terms_can_be_changed(start: Start) -> None:
    process = start()
    with attach(process) as control:
        control.set_switches(trade_allowed=False)
        assert not mt5.terminal_info().trade_allowed
        assert mt5.order_send(BUY).retcode == 10027
        control.set_switches(trade_allowed=True, connected=False)
        assert not mt5.account_info().trade_allowed
        assert not mt5.initialize(process.address, timeout=150)
        assert mt5.last_error() == (-10005, "IPC timeout")
        control.set_switches(connected=True)
        control.set_symbol("EURUSD", stops_level=50, volume_limit=Decimal("0.05"))
        assert mt5.initialize(process.address)
        assert mt5.symbol_info("EURUSD").trade_stops_level == 50
        assert mt5.order_send(BUY).retcode == 10034
        with pytest.raises(ControlRefused, match="no such switch"):
            control.set_switches(nonsense=True)


@recorded
def test_recorded_quotes_are_replayed_with_times_of_now(start: Start) -> None:
    process = start("--ticks", str(RECORDED / "EURUSD-histdata-2020-01-01.csv"), "--tick-interval-ms", "20")
    assert mt5.initialize(process.address)
    wait_for(lambda: len(mt5.copy_ticks_from("EURUSD", 1_000_000_000, 10_000, -1)) >= 3)
    ticks = mt5.copy_ticks_from("EURUSD", 1_000_000_000, 3, -1)
    assert [(t["bid"], t["ask"]) for t in ticks] == [(1.1212, 1.12172), (1.1212, 1.12172), (1.1212, 1.12192)]
    assert abs(ticks["time"][-1] - time.time() - 2 * 3600) < 5


def test_a_start_that_cannot_work_says_why_in_one_line(start: Start, tmp_path: Path) -> None:
    running = start()
    state = tmp_path / "terminal.sqlite"
    bad = tmp_path / "bad.csv"
    bad.write_text("20200101 170000065,1.1,1.2,0\nrubbish\n")
    for options, complaint in (
        (("--port", str(running.port)), "state file"),
        (("--ticks", str(bad)), "line 2"),
        (("--time-zone", "Nowhere/None"), "no such zone"),
        (("--password-file", str(tmp_path / "none")), "--password-file"),
    ):
        ended = run_to_end(state, *options)
        assert (ended.returncode, ended.stderr.count("\n")) == (1, 1), ended.stderr
        assert complaint in ended.stderr
    taken = run_to_end(tmp_path / "other.sqlite", "--port", str(running.port))
    assert (taken.returncode, taken.stderr.count("\n")) == (1, 1), taken.stderr
    assert "cannot listen" in taken.stderr
    assert running.stop() == 0
    other = run_to_end(state, "--port", "0", "--login", "2")
    assert "belongs to account" in other.stderr
