"""Events that no order asked for, and what they leave in the books (facts §10.3)."""

from decimal import Decimal

import pytest

from brokers.simulator import constants as mt5
from brokers.simulator.faults import (
    AccountSwitched,
    ClockStepped,
    DealAmended,
    DealBusted,
    Event,
    HistoryStale,
    LinkLost,
    ManualClose,
    ManualTrade,
    MoneyBooked,
    Placed,
    StopOut,
    SwapCharged,
    TerminalRestarted,
)
from brokers.simulator.happenings import CannotHappen
from brokers.simulator.structs import AccountInfo
from tests.brokers.simulator.bench import FAR, Bench


def happen(bench: Bench, event: Event, symbol: str = "") -> None:
    bench.terminal.happenings.play(event, symbol)


def account(bench: Bench) -> AccountInfo:
    return AccountInfo(bench.queries.account_info())


def test_a_hand_opens_and_closes_with_magic_zero(bench: Bench) -> None:
    ours = bench.deal(0, 0.1, magic=7)
    happen(bench, ManualTrade(lots=Decimal("0.3"), side="sell"), "EURUSD")
    assert [(p.magic, p.reason, p.volume) for p in bench.positions()] == [(7, 3, 0.1), (0, 0, 0.3)]
    happen(bench, ManualClose(ticket=ours.order))
    closing = bench.deals()[-1]
    assert (closing.position_id, closing.magic, closing.reason) == (ours.order, 0, mt5.DEAL_REASON_CLIENT)


def test_without_a_ticket_the_symbols_oldest_position_is_meant(bench: Bench) -> None:
    bench.deal(0, 0.1, symbol="GBPUSD")
    oldest = bench.deal(0, 0.1)
    bench.deal(0, 0.1)
    happen(bench, ManualClose(), "EURUSD")
    assert bench.deals()[-1].position_id == oldest.order


def test_a_stop_out_needs_no_margin_call_to_be_played(bench: Bench) -> None:
    opened = bench.deal(0, 0.1, magic=7)
    happen(bench, StopOut(), "EURUSD")
    deal = bench.deals()[-1]
    assert (deal.position_id, deal.reason, deal.comment[:3]) == (opened.order, mt5.DEAL_REASON_SO, "so ")


def test_swap_is_charged_on_request(bench: Bench) -> None:
    bench.deal(0, 1.0)
    happen(bench, SwapCharged(nights=3))
    assert bench.position().swap == pytest.approx(-21.6)
    assert account(bench).profit == pytest.approx(bench.position().profit - 21.6)


@pytest.mark.parametrize(("money", "kind"), [("balance", 2), ("charge", 4), ("correction", 5), ("interest", 12)])
def test_money_moves_the_balance_by_a_deal_of_no_order(bench: Bench, money: str, kind: int) -> None:
    happen(bench, MoneyBooked(money=money, amount=Decimal("-12.34")))
    deal = bench.history()[-1]
    assert (deal.type, deal.profit, deal.order, deal.position_id, deal.symbol) == (kind, -12.34, 0, 0, "")
    assert account(bench).balance == 99_987.66


def test_credit_is_equity_but_no_balance(bench: Bench) -> None:
    happen(bench, MoneyBooked(money="credit", amount=Decimal(500)))
    bench.terminal.books.load()
    shown = account(bench)
    assert (shown.balance, shown.credit, shown.equity, shown.margin_free) == (100_000, 500, 100_500, 100_500)


def test_a_busted_deal_changes_its_type_and_a_correction_takes_its_profit_back(bench: Bench) -> None:
    opened = bench.deal(0, 1.0)
    bench.tick("EURUSD", "1.10100", "1.10110")
    bench.deal(1, 1.0, position=opened.order)
    before = bench.terminal.books.balance
    earned = bench.deals()[-1]
    happen(bench, DealBusted(), "EURUSD")
    busted, correction = bench.history()[-2:]
    assert (busted.ticket, busted.type, busted.profit) == (earned.ticket, mt5.DEAL_TYPE_SELL_CANCELED, 0.0)
    assert (correction.type, correction.profit) == (mt5.DEAL_TYPE_CORRECTION, -earned.profit)
    assert bench.terminal.books.balance == before - Decimal(90)
    assert earned.profit == 90.0


def test_a_busted_opening_has_no_money_to_take_back_and_was_executed_all_the_same(bench: Bench) -> None:
    bench.deal(0, 0.1, magic=7)
    before = bench.terminal.books.balance
    happen(bench, DealBusted())
    assert bench.history()[-1].type == mt5.DEAL_TYPE_BUY_CANCELED
    assert (bench.terminal.books.balance, bench.terminal.store.opening_counts()) == (before, {7: 1})


def test_an_amended_deal_keeps_its_ticket_and_moves_the_balance(bench: Bench) -> None:
    result = bench.deal(0, 1.0)
    happen(bench, DealAmended(ticket=result.deal, commission=Decimal("-5.25")))
    (deal,) = bench.deals()
    assert (deal.ticket, deal.commission) == (result.deal, -5.25)
    assert bench.terminal.books.balance == Decimal("99994.75")


@pytest.mark.parametrize("hours", [1, -1])
def test_a_clock_step_moves_every_time_and_outlives_a_restart(bench: Bench, hours: int) -> None:
    bench.wait(7200)
    bench.tick("EURUSD", "1.10000", "1.10010")
    before = bench.now
    happen(bench, ClockStepped(hours=hours))
    bench.tick("EURUSD", "1.10000", "1.10010")
    bench.deal(0, 0.1)
    assert bench.now - before == hours * 3600
    assert bench.queries.symbol_info_tick("EURUSD")[0] == bench.deals()[-1].time == bench.now
    assert bench.terminal.store.get("clock_shift_msc") == str(hours * 3_600_000)


def test_promises_are_kept_in_true_time_when_the_clock_steps(bench: Bench) -> None:
    bench.deal(0, 0.1, fault=Placed(after_ms=1000))
    happen(bench, ClockStepped(hours=-1))
    bench.wait(1.0)
    assert len(bench.deals()) == 1


def test_a_night_is_not_charged_twice_when_the_clock_steps_back_over_midnight(bench: Bench) -> None:
    bench.wait(0)
    bench.deal(0, 1.0)
    bench.wait(10 * 3600 + 600)  # 00:10 on the server
    happen(bench, ClockStepped(hours=-1))
    bench.wait(0)
    bench.wait(3600)
    assert bench.position().swap == -7.2


def test_another_account_is_empty_and_closed_to_trading(bench: Bench) -> None:
    bench.deal(0, 0.1)
    bench.pend(mt5.ORDER_TYPE_BUY_LIMIT, 1.09)
    happen(bench, AccountSwitched(login=4711, trade_mode=mt5.ACCOUNT_TRADE_MODE_REAL))
    shown = account(bench)
    assert (shown.login, shown.server, shown.trade_mode) == (4711, "Other-Demo", 2)
    assert (bench.positions(), bench.orders(), bench.history()) == ([], [], [])
    assert bench.queries.positions_total() == bench.queries.orders_total() == 0
    assert bench.deal(0, 0.1, magic=8).retcode == 10017
    assert bench.terminal.store.opening_counts() == {0: 1}


def test_an_account_may_be_switched_for_a_while(bench: Bench) -> None:
    happen(bench, AccountSwitched(ms=1000))
    bench.wait(0.9)
    assert account(bench).login == 99_999
    bench.wait(0.1)
    assert account(bench).login == 50_001


def test_a_lost_link_refuses_orders_comes_back_and_syncs(bench: Bench) -> None:
    bench.deal(0, 0.1)
    happen(bench, LinkLost(ms=1000, sync_ms=500))
    assert bench.deal(0, 0.1).retcode == 10031
    assert (account(bench).trade_allowed, len(bench.deals())) == (False, 1)
    bench.wait(1.0)
    assert (account(bench).trade_allowed, len(bench.positions())) == (True, 1)
    assert bench.history() == []
    bench.wait(0.5)
    assert len(bench.deals()) == 1


def test_a_restart_counts_requests_anew_and_may_leave_the_button_off(bench: Bench) -> None:
    assert [bench.deal(0, 0.1).request_id for _ in range(2)] == [1, 2]
    happen(bench, TerminalRestarted(sync_ms=500))
    assert bench.history() == []
    assert bench.deal(0, 0.1).request_id == 1
    happen(bench, TerminalRestarted(algo_off=True))
    assert bench.deal(0, 0.1).retcode == 10027


def test_stale_history_is_empty_and_says_so_in_its_totals(bench: Bench) -> None:
    bench.deal(0, 0.1)
    happen(bench, HistoryStale(ms=1000))
    assert (bench.history(), bench.queries.history_deals_total(bench.now - FAR, bench.now + FAR)) == ([], 0)
    assert len(bench.positions()) == 1
    bench.wait(1.0)
    assert len(bench.history()) == 2


@pytest.mark.parametrize(
    "event",
    [
        ManualClose(),
        ManualClose(ticket=5),
        StopOut(),
        DealBusted(),
        DealAmended(ticket=5, commission=Decimal(1)),
        ManualTrade(lots=Decimal(1000)),
        MoneyBooked(money="gold", amount=Decimal(1)),
    ],
)
def test_an_event_with_nothing_to_act_on_says_so_and_changes_nothing(bench: Bench, event: Event) -> None:
    before = bench.history()
    with pytest.raises(CannotHappen):
        happen(bench, event, "EURUSD")
    assert bench.history() == before
