"""What the broker answers and what it has really done (facts §10.3)."""

import json
from decimal import Decimal

import pytest

from brokers.simulator import constants as mt5
from brokers.simulator.fault_wire import KINDS, from_wire, from_words, to_wire
from brokers.simulator.faults import (
    AlgoOff,
    AnswerLost,
    Crash,
    Delay,
    DoneLater,
    Event,
    Fault,
    Hang,
    HistoryLag,
    ListGap,
    ManualClose,
    NoLink,
    Partial,
    PipeDead,
    Placed,
    Reject,
    Timeout,
)
from brokers.simulator.records import Deal
from brokers.simulator.requests import CallFailed
from brokers.simulator.scripts import NO_FAULTS, CallFaults, Faults
from brokers.simulator.structs import TradeDeal
from tests.brokers.simulator.bench import FAR, Bench
from tests.brokers.simulator.chances import one_of_each

SEND = "order_send"


@pytest.mark.parametrize("retcode", [10004, 10006, 10020, 10021, 10024, 10028])
def test_a_refusal_executes_nothing_but_reached_the_broker(bench: Bench, retcode: int) -> None:
    result = bench.deal(0, 0.1, fault=Reject(retcode=retcode))
    assert (result.retcode, result.request_id, result.order) == (retcode, 1, 0)
    assert bench.deals() == []


def test_the_algo_button_refuses_in_the_terminal(bench: Bench) -> None:
    result = bench.deal(0, 0.1, fault=AlgoOff())
    assert (result.retcode, result.request_id) == (10027, 0)
    with pytest.raises(CallFailed) as failed:
        bench.deal(0, 0.1, fault=AlgoOff(by_option=True))
    assert failed.value.code == -8
    assert bench.deals() == []


@pytest.mark.parametrize(("fault", "retcode"), [(Timeout, 10012), (NoLink, 10031)])
def test_an_answer_that_says_nothing_leaves_open_what_was_done(
    bench: Bench, fault: type[Timeout | NoLink], retcode: int
) -> None:
    never = bench.deal(0, 0.1, fault=fault(executed=False))
    now = bench.deal(0, 0.1, fault=fault(executed=True), magic=1)
    later = bench.deal(0, 0.1, fault=fault(executed=True, after_ms=800), magic=2)
    assert {(r.retcode, r.order, r.deal) for r in (never, now, later)} == {(retcode, 0, 0)}
    assert [deal.magic for deal in bench.deals()] == [1]
    bench.wait(0.7)
    assert [deal.magic for deal in bench.deals()] == [1]
    assert bench.orders() == []
    bench.wait(0.1)
    assert [deal.magic for deal in bench.deals()] == [1, 2]


def test_without_a_link_only_what_is_executed_has_left_the_terminal(bench: Bench) -> None:
    assert bench.deal(0, 0.1, fault=NoLink()).request_id == 0
    assert bench.deal(0, 0.1, fault=NoLink(executed=True)).request_id == 1


def test_a_late_execution_survives_a_restart_and_meets_the_market_of_its_time(bench: Bench) -> None:
    bench.deal(0, 0.1, fault=Timeout(executed=True, after_ms=500), magic=3)
    bench.terminal.books.load()
    bench.tick("EURUSD", "1.20000", "1.20010")
    bench.wait(0.5)
    assert [(deal.magic, deal.price) for deal in bench.deals()] == [(3, 1.2001)]
    bench.wait(0.5)
    assert len(bench.deals()) == 1


def test_placed_is_filled_later_in_parts(bench: Bench) -> None:
    result = bench.deal(0, 0.5, fault=Placed(after_ms=1000, parts=2), magic=7)
    assert (result.retcode, result.deal, result.volume) == (10008, 0, 0.0)
    assert [order.ticket for order in bench.orders()] == [result.order]
    bench.tick("EURUSD", "1.10100", "1.10110")
    assert bench.deals() == []
    bench.wait(0.5)
    assert [(d.volume, d.price) for d in bench.deals()] == [(0.25, 1.1011)]
    bench.wait(0.5)
    assert bench.position().volume == 0.5
    assert bench.past_order(result.order).state == mt5.ORDER_STATE_FILLED


@pytest.mark.parametrize(("fraction", "filled"), [("0", 0.0), ("0.4", 0.2)])
@pytest.mark.parametrize("rejected", [True, False])
def test_placed_may_end_with_less(bench: Bench, fraction: str, filled: float, rejected: bool) -> None:  # noqa: FBT001
    fault = Placed(after_ms=100, fraction=Decimal(fraction), rejected=rejected)
    result = bench.deal(0, 0.5, fault=fault)
    bench.wait(0.1)
    past = bench.past_order(result.order)
    state = mt5.ORDER_STATE_REJECTED if rejected else mt5.ORDER_STATE_CANCELED
    assert (past.state, past.volume_current) == (state, 0.5 - filled)
    assert sum(d.volume for d in bench.deals()) == filled


def test_done_without_a_deal_gets_its_deal_later(bench: Bench) -> None:
    result = bench.deal(0, 0.5, fault=DoneLater(after_ms=200))
    assert (result.retcode, result.deal, result.volume) == (10009, 0, 0.5)
    assert bench.deals() == []
    bench.wait(0.2)
    assert [d.order for d in bench.deals()] == [result.order]


def test_partial_cancels_the_rest_under_ioc_and_leaves_it_working_under_return(bench: Bench) -> None:
    half = Partial(fraction=Decimal("0.4"))
    result = bench.deal(0, 0.5, fault=half)
    assert (result.retcode, result.volume) == (10010, 0.2)
    assert bench.past_order(result.order).state == mt5.ORDER_STATE_CANCELED
    working = bench.deal(0, 0.4, symbol="US500", type_filling=mt5.ORDER_FILLING_RETURN, fault=half)
    assert (working.retcode, working.volume) == (10009, 0.16)
    assert [(o.ticket, o.state) for o in bench.orders()] == [(working.order, mt5.ORDER_STATE_PARTIAL)]


def test_faults_of_one_call_combine(bench: Bench) -> None:
    result = bench.deal(0, 0.5, faults=[Placed(after_ms=100), ListGap(ms=1000), HistoryLag(ms=2000)])
    assert (result.retcode, bench.orders(), bench.positions()) == (10008, [], [])
    bench.wait(0.1)
    assert [deal.order_ticket for deal in bench.store.select(Deal, "type < 2")] == [result.order]
    assert (bench.positions(), bench.deals()) == ([], [])
    bench.wait(1.0)
    assert (len(bench.positions()), bench.deals()) == (1, [])
    bench.wait(1.0)
    assert [deal.order for deal in bench.deals()] == [result.order]


def test_every_fault_survives_the_wire_and_is_drawn_by_chance() -> None:
    faults = one_of_each()
    assert {type(fault) for fault in faults} == set(KINDS.values())
    assert [from_wire(json.loads(json.dumps(to_wire(fault)))) for fault in faults] == faults


def test_faults_are_used_once_in_order_the_symbols_own_first() -> None:
    faults = Faults()
    faults.script(SEND, "*", [[Reject(retcode=1)]])
    faults.script(SEND, "EURUSD", [[Reject(retcode=2)], [Reject(retcode=3)]])
    taken = [faults.take(SEND, "EURUSD").outcome for _ in range(4)]
    assert taken == [Reject(retcode=2), Reject(retcode=3), Reject(retcode=1), None]
    assert [op for op, _, _ in faults.played] == [SEND] * 3


def test_a_repeated_script_goes_round_until_it_is_cleared() -> None:
    faults = Faults()
    faults.script(SEND, "*", [[Reject(retcode=1)], [Delay(ms=2)]], repeat=True)
    assert [len(faults.take(SEND, "X").all()) for _ in range(5)] == [1] * 5
    faults.clear()
    assert faults.take(SEND, "X") is NO_FAULTS


def test_a_pattern_covers_its_calls_but_never_those_that_attach() -> None:
    faults = Faults()
    faults.script("history_*_get", "*", [[PipeDead()]])
    faults.script("*", "*", [[PipeDead()]])
    assert faults.take("initialize", "") is NO_FAULTS
    assert faults.take("history_deals_get", "").transport == PipeDead()
    assert faults.take("positions_get", "").transport == PipeDead()
    assert faults.take("positions_get", "") is NO_FAULTS


@pytest.mark.parametrize(
    ("op", "faults"),
    [
        ("positions_get", [Reject(retcode=1)]),
        ("positions_get", [Placed(after_ms=1)]),
        (SEND, [Reject(retcode=1), Placed(after_ms=1)]),
        (SEND, [Hang(executed=True), Delay(ms=1)]),
        (SEND, [AnswerLost(executed=False), Placed(after_ms=1)]),
        (SEND, [PipeDead(), ListGap(ms=1)]),
    ],
)
def test_faults_that_cannot_meet_are_refused(op: str, faults: list[Fault]) -> None:
    with pytest.raises(ValueError, match=r"sends no order|one answer|not executed"):
        CallFaults.of(op, faults)


def test_faults_that_can_meet_each_get_their_place() -> None:
    events: list[Event] = [ManualClose()]
    faults = CallFaults.of(SEND, [Crash(), Placed(after_ms=1), ListGap(ms=1), HistoryLag(ms=2), *events])
    assert (faults.transport, faults.outcome, faults.events) == (Crash(), Placed(after_ms=1), tuple(events))
    assert faults.aftermath == (ListGap(ms=1), HistoryLag(ms=2))
    assert CallFaults.of("history_deals_get", [HistoryLag(ms=1), Delay(ms=1)]).aftermath == (HistoryLag(ms=1),)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("nonsense", "no such fault"),
        ("reject", "retcode"),
        ("reject,retcode=x", "is no int"),
        ("reject,retcode", "field=value"),
        ("reject,retcode=1,more=2", "more"),
        ("delay,ms=-1", "out of range"),
        ("partial,fraction=1.5", "out of range"),
        ("partial,fraction=NaN", "out of range"),
        ("placed,after_ms=1,parts=0", "out of range"),
        ("answer_lost,executed=yes", "is no bool"),
        ("manual_trade,side=up", "out of range"),
        ("", "no such fault"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_by_name(words: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        from_words(words)


def test_a_person_writes_faults_in_words() -> None:
    assert from_words("placed,after_ms=500,parts=2") == Placed(after_ms=500, parts=2)
    assert from_words("answer_lost,executed=true") == AnswerLost(executed=True)


def test_tickets_of_a_lagging_order_are_missing_from_totals_too(bench: Bench) -> None:
    bench.deal(0, 0.1)
    result = bench.deal(0, 0.1, fault=HistoryLag(ms=1000))
    span = (bench.now - FAR, bench.now + FAR)
    assert bench.queries.history_deals_total(*span) == 2  # the deposit and the first deal
    assert bench.queries.history_orders_total(*span) == 1
    assert bench.queries.history_deals_get(position=result.order) == []
    assert bench.queries.history_orders_get(ticket=result.order) == []
    bench.wait(1.0)
    assert bench.queries.history_deals_total(*span) == 3
    assert [TradeDeal(row).order for row in bench.queries.history_deals_get(position=result.order)] == [
        result.order
    ]
