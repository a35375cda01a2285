"""Faults by chance: repeatable, and never a wrong book."""

from decimal import Decimal
from random import Random

import pytest

from brokers.simulator.account import MarginMode
from brokers.simulator.chaos import Chaos
from brokers.simulator.fault_wire import KINDS
from brokers.simulator.faults import AnswerLost, Event, ExitMagicLost, Outcome, Reject
from brokers.simulator.happenings import CannotHappen
from brokers.simulator.records import Deal
from brokers.simulator.requests import CallFailed
from brokers.simulator.scripts import CallFaults, Faults, executes
from tests.brokers.simulator.bench import Bench

SEND = "order_send"
EVERYTHING = dict.fromkeys(KINDS, 0.08)


def drawn(seed: int, rates: dict[str, float], *, calls: int = 200) -> list[CallFaults]:
    faults = Faults()
    faults.chaos = Chaos(seed, rates)
    return [faults.take(SEND, "EURUSD") for _ in range(calls)]


def test_the_same_seed_and_calls_meet_the_same_faults() -> None:
    assert drawn(5, EVERYTHING) == drawn(5, EVERYTHING)
    assert drawn(5, EVERYTHING) != drawn(6, EVERYTHING)


def test_other_calls_in_between_move_nothing() -> None:
    faults = Faults()
    faults.chaos = Chaos(5, EVERYTHING)
    mixed = []
    for n in range(200):
        for _ in range(n % 3):
            faults.take("positions_get", "")
        mixed.append(faults.take(SEND, "EURUSD"))
    assert mixed == drawn(5, EVERYTHING)


def test_the_rate_of_one_fault_does_not_move_another() -> None:
    alone = [call.transport for call in drawn(5, {"answer_lost": 0.2})]
    beside = [call.transport for call in drawn(5, {"answer_lost": 0.2, "manual_trade": 0.5})]
    assert alone == beside


@pytest.mark.parametrize(("rate", "least", "most"), [(0.0, 0, 0), (1.0, 400, 400), (0.1, 20, 60)])
def test_rates_are_shares_of_the_calls(rate: float, least: int, most: int) -> None:
    hit = sum(call.transport is not None for call in drawn(1, {"answer_lost": rate}, calls=400))
    assert least <= hit <= most


def test_faults_keep_to_their_calls() -> None:
    chaos = Chaos(1, {"query_failure": 1.0, "reject": 1.0, "answer_lost@history_*": 1.0})
    assert [type(fault) for fault in chaos.draw(SEND)] == [Reject]
    assert {type(fault).__name__ for fault in chaos.draw("positions_get")} == {"QueryFailure"}
    assert {type(fault).__name__ for fault in chaos.draw("history_deals_get")} == {"QueryFailure", "AnswerLost"}


def test_those_that_attach_are_spared() -> None:
    faults = Faults()
    faults.chaos = Chaos(1, {"hang@*": 1.0})
    assert faults.take("initialize", "").all() == ()
    assert faults.take("account_info", "").all() != ()


def test_a_script_goes_before_chance_without_moving_it() -> None:
    faults = Faults()
    faults.chaos = Chaos(5, EVERYTHING)
    faults.script(SEND, "*", [[Reject(retcode=1)]])
    first, *rest = [faults.take(SEND, "EURUSD") for _ in range(50)]
    assert first.all() == (Reject(retcode=1),)
    assert rest == drawn(5, EVERYTHING, calls=50)[1:]


@pytest.mark.parametrize("rates", [{"typo": 0.1}, {"hang": 1.1}, {"placed@positions_get": 0.1}, {"hang": -0.1}])
def test_rates_that_make_no_sense_are_refused(rates: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"no such fault|no share|sends an order"):
        Chaos(1, rates)


@pytest.mark.parametrize("mode", MarginMode)
@pytest.mark.parametrize("seed", range(4))
def test_whatever_befalls_the_calls_the_books_are_exact(mode: MarginMode, seed: int) -> None:
    bench = Bench(margin_mode=mode, balance="1000000")
    faults = bench.terminal.faults
    faults.chaos = Chaos(seed, EVERYTHING)
    rng = Random(seed)
    executed: set[int] = set()
    for magic in range(1, 201):
        mid = Decimal(110_000 + rng.randint(-300, 300)).scaleb(-5)
        bench.tick("EURUSD", str(mid), str(mid + Decimal("0.00010")))
        bench.wait(rng.choice([0.05, 0.5, 3.0]))
        call = faults.take(SEND, "EURUSD")
        for event in call.events:
            play(bench, event)
        if call.transport is None or executes(call.transport):
            lots = rng.randint(1, 30) / 100
            if send(bench, call, magic=magic, side=rng.randint(0, 1), lots=lots):
                executed.add(magic)
        bench.terminal.switches.other_account = None
    bench.wait(10)
    judge(bench)
    openings = {magic: count for magic, count in bench.store.opening_counts().items() if magic}
    assert set(openings.values()) == {1}
    assert openings.keys() <= executed
    bench.store.close()


def play(bench: Bench, event: Event) -> None:
    try:
        bench.terminal.happenings.play(event, "EURUSD")
    except CannotHappen:
        assert len(bench.store.select(Deal)) >= 1


def send(bench: Bench, call: CallFaults, *, magic: int, side: int, lots: float) -> bool:
    """Whether the broker may have executed something."""
    try:
        result = bench.deal(side, lots, magic=magic, faults=[*filter(None, [call.outcome]), *call.aftermath])
    except CallFailed:
        return False
    return result.retcode in (10008, 10009, 10010, 10012, 10031)


def judge(bench: Bench) -> None:
    """Balance and credit are the money of all deals, and what is shown adds up to the account."""
    books, account = bench.terminal.books, bench.terminal.account
    assert books.balance + books.credit == sum(deal.money for deal in bench.store.select(Deal))
    each = sum(account.profit(position) + position.swap for position in books.positions.values())
    assert account.floating() == each
    before = (books.balance, books.credit, books.positions, books.orders)
    books.load()
    assert (books.balance, books.credit, books.positions, books.orders) == before
    assert account.floating() == each


def test_not_executed_leaves_no_order_to_have_a_fate() -> None:
    for call in drawn(3, {"answer_lost": 0.5, "placed": 0.5, "exit_magic_lost": 0.5}):
        if call.transport == AnswerLost(executed=False):
            assert (call.outcome, call.aftermath) == (None, ())
        assert call.outcome is None or isinstance(call.outcome, Outcome)
        assert set(call.aftermath) <= {ExitMagicLost()}
