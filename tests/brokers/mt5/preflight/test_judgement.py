"""What the pre-flight makes of single answers."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from brokers.mt5.clock import ServerClock
from brokers.mt5.constants import Action, OrderKind
from brokers.mt5.floats import exact
from brokers.mt5.preflight import evidence, judgement, orders
from brokers.mt5.preflight.evidence import Traces
from brokers.mt5.preflight.readings import Readings
from brokers.mt5.preflight.report import Card, Finding, Name, Verdict
from brokers.mt5.preflight.run import why_no_trial
from brokers.mt5.terminals import Reply

NOW = datetime(2026, 1, 14, 12, 0, tzinfo=UTC)
ATHENS = ServerClock(ZoneInfo("Europe/Athens"))
ACCOUNT = {
    "login": 7,
    "server": "Demo",
    "trade_mode": 0,
    "margin_mode": 2,
    "trade_allowed": True,
    "trade_expert": True,
}
TERMINAL = {"connected": True, "trade_allowed": True, "tradeapi_disabled": False, "ping_last": 31_000}
SYMBOL = {
    "name": "EURUSD",
    "description": "Euro",
    "trade_mode": 4,
    "trade_exemode": 2,
    "filling_mode": 2,
    "point": 1e-5,
    "trade_tick_size": 1e-5,
    "trade_stops_level": 0,
    "volume_min": 0.01,
}
TICK = {"bid": 1.10000, "ask": 1.10010, "time_msc": 0}


def tick_at(instant: datetime) -> dict[str, Any]:
    """As a server in Athens stamps it."""
    return TICK | {"time_msc": ATHENS.to_server(instant) * 1000}


def result(retcode: int, **fields: Any) -> Reply:
    given = {"order": 5, "deal": 6, "volume": 0.01, "price": 1.1, "comment": "", "request_id": 1}
    return Reply({"retcode": retcode, **given, **fields}, 1, "Success")


def failed_for(finding: Finding, reason: str) -> bool:
    return finding.verdict is Verdict.FAILED and reason in finding.seen and bool(finding.mend)


@pytest.mark.parametrize(
    ("account", "terminal", "seen"),
    [
        ({}, {"trade_allowed": False}, "algo trading off"),
        ({}, {"tradeapi_disabled": True}, "python trading off"),
        ({"trade_allowed": False}, {}, "account read only"),
        ({"trade_expert": False}, {}, "expert trading off"),
    ],
)
def test_each_switch_is_named_with_its_own_mend(
    account: dict[str, Any], terminal: dict[str, Any], seen: str
) -> None:
    finding = judgement.algo_trading(ACCOUNT | account, TERMINAL | terminal)
    assert failed_for(finding, seen)
    assert ";" not in finding.mend, "one switch, one mend"


def test_without_the_link_the_switches_are_not_judged() -> None:
    down = TERMINAL | {"connected": False}
    assert judgement.link(down).verdict is Verdict.FAILED
    assert judgement.algo_trading(ACCOUNT | {"trade_allowed": False}, down).verdict is Verdict.SKIPPED


@pytest.mark.parametrize("code", [-2, -5, -6, -7, -8, -10003, -10005, -10002])
def test_every_way_of_not_attaching_has_a_mend(code: int) -> None:
    assert failed_for(judgement.unattached(code, "IPC"), str(code))


def test_the_clock_is_judged_against_the_configured_zone() -> None:
    fresh = tick_at(NOW)
    assert judgement.clock_offset(fresh, NOW) == timedelta(hours=2)
    assert judgement.clock(fresh, configured=ATHENS, now=NOW).verdict is Verdict.OK
    utc = judgement.clock(fresh, configured=ServerClock(ZoneInfo("UTC")), now=NOW)
    assert failed_for(utc, "UTC+02:00, configured is UTC: the server is 120 min ahead of that")


@pytest.mark.parametrize(("trade_mode", "sends"), [(0, True), (1, False), (2, False)])
def test_nothing_but_a_demo_account_is_traded(trade_mode: int, *, sends: bool) -> None:
    seen = Readings(account=ACCOUNT | {"trade_mode": trade_mode})
    assert (why_no_trial(seen, (), read_only=False) is None) == sends


def test_a_real_account_is_told_before_any_other_reason() -> None:
    seen = Readings(account=ACCOUNT | {"trade_mode": 2})
    assert why_no_trial(seen, (Name.TICK,), read_only=True) == (
        "account 7 is a real account, so nothing is sent to it"
    )


@pytest.mark.parametrize("mode", [0, 2, 3])
def test_a_symbol_that_cannot_be_bought_is_refused(mode: int) -> None:
    assert failed_for(judgement.symbol("EURUSD", SYMBOL | {"trade_mode": mode}, similar=()), "EURUSD is")


@pytest.mark.parametrize(
    ("before", "after", "unknown", "reason"),
    [(3, 4, [], "3 a moment ago"), (0, 0, [], "not even a deposit"), (4, 4, [9], "history lacks positions 9")],
)
def test_a_history_that_is_not_in_sync_is_told(before: int, after: int, unknown: list[int], reason: str) -> None:
    assert failed_for(judgement.lists({"deals": 1}, before=before, after=after, unknown=unknown), reason)


def test_the_stop_lies_below_the_bid_on_the_grid_beyond_the_brokers_level() -> None:
    coarse = SYMBOL | {"trade_tick_size": 5e-5, "trade_stops_level": 200}
    stop = orders.stop_below(coarse, TICK)
    assert exact(TICK["bid"]) - stop >= 3 * 200 * Decimal("0.00001")
    assert stop % Decimal("0.00005") == 0


def test_the_pending_order_is_far_below_the_market() -> None:
    request = orders.far_limit(SYMBOL, TICK, magic=1, mode=2)
    assert (request["action"], request["type"]) == (Action.PENDING, OrderKind.BUY_LIMIT)
    assert request["price"] == pytest.approx(1.045)


def test_two_pre_flights_share_no_magic() -> None:
    first, second = orders.magics(1_800_000_000), orders.magics(1_800_000_001)
    assert len({*first, *second}) == 4


@pytest.mark.parametrize(
    ("reply", "known"),
    [
        (result(10009), True),
        (result(10019), True),
        (result(10012), False),
        (result(10031), False),
        (Reply(None, -10002, "IPC recv failed"), False),
        (Reply(None, -8, "Auto-Trading using Python API disabled"), True),
    ],
)
def test_an_answer_is_told_apart_from_silence(reply: Reply, *, known: bool) -> None:
    assert evidence.proven(reply) == known


def test_a_magic_that_is_lost_fails() -> None:
    order, deal, position = {"magic": 8}, {"magic": 8}, {"magic": 0}
    traces = Traces(order=order, deals=[deal], position=position)
    assert failed_for(evidence.magic_kept(traces, magic=8, margin_mode=2), "0 on the position")
    # A netting position is no proof of anything.
    assert evidence.magic_kept(traces, magic=8, margin_mode=0).verdict is Verdict.OK
    bare = Traces(order=order, deals=[deal | {"magic": 0}], position=None)
    assert failed_for(evidence.magic_kept(bare, magic=8, margin_mode=0), "0 on the deal")


@pytest.mark.parametrize(("stored", "fails"), [(9, False), (0, True)])
def test_a_pending_order_has_to_keep_its_magic(stored: int, *, fails: bool) -> None:
    finding = evidence.pending_order(result(10008), magic=9, price=1.0, listed={"magic": stored}, milliseconds=1)
    assert failed_for(finding, "with magic 0 instead of 9") == fails


def test_a_close_is_judged_by_the_deal_of_its_position() -> None:
    out = {"ticket": 9, "entry": 1, "magic": 0, "position_id": 5}
    told = evidence.close(result(10009), magic=8, identifier=5, deals=[{"entry": 0}, out])
    assert told.verdict is Verdict.OK
    assert "OUT deal 9 with magic 0 (another) and position_id 5" in told.seen
    assert failed_for(evidence.close(result(10009), magic=8, identifier=5, deals=[]), "no OUT deal")


@pytest.mark.parametrize(
    ("listed", "past", "reason"),
    [({"ticket": 5}, None, "still listed"), (None, None, "history does not have"), (None, {"state": 4}, "FILLED")],
)
def test_a_cancel_counts_by_what_became_of_the_order(
    listed: dict[str, Any] | None, past: dict[str, Any] | None, reason: str
) -> None:
    assert failed_for(evidence.cancelled(result(10009), listed=listed, past=past), reason)


def test_a_terminal_that_knows_a_worker_is_told_as_such() -> None:
    fenced = Reply(None, -1, "Terminal: fenced: lease none is older than 3")
    assert "run the pre-flight before the first worker" in evidence.unanswered_send(fenced, magic=1).mend


def test_what_a_query_by_ticket_returned_is_told_as_it_is() -> None:
    finding = evidence.ticket_queries(
        order=5,
        by_order=Reply([], 1, "Success"),
        deal=6,
        by_deal=Reply([{"ticket": 6, "order": 5}], 1, "Success"),
    )
    assert finding.seen == "ticket=5 (the order): nothing; ticket=6 (the deal): deal 6 of order 5"


def test_a_lost_answer_is_not_taken_for_nothing() -> None:
    assert failed_for(evidence.nothing_left((), unclear=True, magics=(1, 2)), "an answer was lost")
    assert evidence.nothing_left((), unclear=False, magics=(1, 2)).verdict is Verdict.OK


def test_the_verdict_names_what_failed() -> None:
    card = Card(facts={}, failed=(Name.TICK, Name.CLOCK), left=(), sent=True)
    assert card.verdict == "failed: fresh tick, server clock"
