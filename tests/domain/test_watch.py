"""What blocks, what is only told, and what is no change at all."""

from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.contracts import Contract, written
from domain.instruments import Execution, Filling, Instrument, TradeMode
from domain.money import Currency, is_multiple
from domain.orders import OrderType
from domain.watch import (
    CONDITIONS,
    Blocks,
    Finding,
    FindingKind,
    Pending,
    Permissions,
    Severity,
    condition,
    instrument_findings,
    leverage_findings,
    permission_findings,
)
from tests.factories import NOW, lots, make_instrument

ALL_ON = Permissions(
    connected=True, algo_trading=True, python_trading=True, account_trading=True, expert_trading=True
)
# Every term that may change, each to another value that it may well have.
BLOCKING: dict[str, Any] = {
    "contract_size": Decimal(10_000),
    "tick_size": Decimal("0.00005"),
    "point": Decimal("0.0001"),
    "digits": 4,
    "currency_base": Currency("GBP"),
    "currency_profit": Currency("EUR"),
    "currency_margin": Currency("USD"),
    "volume_step": lots("0.1"),
}
TOLD: dict[str, Any] = {
    "volume_min": lots("0.1"),
    "volume_max": lots("50"),
    "stops_level_points": 30,
    "freeze_level_points": 10,
    "trade_mode": TradeMode.CLOSE_ONLY,
    "execution": Execution.INSTANT,
    "fillings": (Filling.FOK,),
    "order_types": (OrderType.MARKET,),
}
# What moves with the market, is text for people, or is refused by its own name to the few who ask for it.
IGNORED: dict[str, Any] = {
    "tick_value": Decimal("0.93"),
    "description": "Euro",
    "read_at": NOW.replace(year=2027),
    "close_by": False,
}


def changed(*, pending: tuple[Pending, ...] = (), **terms: Any) -> tuple[Finding, ...]:
    known = make_instrument()
    return instrument_findings({"EURUSD": known}, {"EURUSD": replace(known, **terms)}, pending=pending)


def shown(*names: str) -> dict[str, Instrument]:
    return {name: make_instrument(symbol=name) for name in names}


def kinds(found: tuple[Finding, ...]) -> list[FindingKind]:
    return [finding.kind for finding in found]


@pytest.mark.parametrize(
    ("switch", "kind"),
    [
        ("connected", FindingKind.BROKER_DISCONNECTED),
        ("algo_trading", FindingKind.ALGO_TRADING_OFF),
        ("python_trading", FindingKind.PYTHON_TRADING_OFF),
        ("account_trading", FindingKind.ACCOUNT_READ_ONLY),
        ("expert_trading", FindingKind.EXPERT_TRADING_OFF),
    ],
)
def test_each_switch_that_is_off_blocks_everything_under_its_own_name(switch: str, kind: FindingKind) -> None:
    (finding,) = permission_findings(replace(ALL_ON, **{switch: False}))
    assert (finding.kind, finding.blocks, finding.severity) == (kind, Blocks.EVERYTHING, Severity.CRITICAL)
    assert finding.message == CONDITIONS[kind]


@given(st.builds(Permissions, **{field.name: st.booleans() for field in fields(Permissions)}))
def test_nothing_is_found_exactly_where_an_order_could_go(permissions: Permissions) -> None:
    found = permission_findings(permissions)
    assert (found == ()) is (permissions.connected and permissions.trade_allowed)
    assert len(set(kinds(found))) == len(found)
    assert all(finding.blocks is Blocks.EVERYTHING for finding in found)


def test_without_the_link_the_accounts_own_flags_say_nothing() -> None:
    unlinked = replace(ALL_ON, connected=False, account_trading=False, expert_trading=False)
    assert kinds(permission_findings(unlinked)) == [FindingKind.BROKER_DISCONNECTED]
    assert kinds(permission_findings(replace(unlinked, algo_trading=False))) == [
        FindingKind.BROKER_DISCONNECTED,
        FindingKind.ALGO_TRADING_OFF,
    ]


def test_every_condition_says_what_mends_it() -> None:
    for kind, mend in CONDITIONS.items():
        assert condition(kind).message.startswith(mend)
    assert "4711" in condition(FindingKind.ACCOUNT_MISMATCH, shown="login 4711").message


@pytest.mark.parametrize("term", BLOCKING)
def test_what_changes_the_meaning_of_an_order_blocks_its_opening(term: str) -> None:
    (finding,) = changed(**{term: BLOCKING[term]})
    assert (finding.kind, finding.blocks) == (FindingKind.CONTRACT_CHANGED, Blocks.OPENING)
    before = written(getattr(make_instrument(), term))
    assert (finding.subject, finding.term, finding.was, finding.shown) == (
        "EURUSD",
        term,
        before,
        written(BLOCKING[term]),
    )


@pytest.mark.parametrize("term", TOLD)
def test_what_the_gates_go_by_anyway_is_told_and_blocks_nothing(term: str) -> None:
    (finding,) = changed(**{term: TOLD[term]})
    assert (finding.kind, finding.blocks) == (FindingKind.TERMS_CHANGED, Blocks.NOTHING)


def test_what_moves_with_the_market_is_no_change() -> None:
    assert changed(**IGNORED) == ()


def test_no_term_of_an_instrument_is_overlooked() -> None:
    judged = {*BLOCKING, *TOLD, *IGNORED, "symbol"}
    assert judged == {field.name for field in fields(Instrument)}


@given(st.permutations(list({**BLOCKING, **TOLD}.items())), st.integers(0, 16))
def test_every_changed_term_is_found_and_no_other(terms: list[tuple[str, Any]], count: int) -> None:
    chosen = dict(terms[:count])
    found = changed(**chosen)
    assert {finding.term for finding in found} == set(chosen)
    assert {finding.term for finding in found if finding.blocks is Blocks.OPENING} == set(chosen) & set(BLOCKING)


@given(st.integers(1, 500), st.integers(1, 500))
def test_a_volume_step_blocks_exactly_where_old_volumes_no_longer_fit(old: int, new: int) -> None:
    before, after = make_instrument(volume_step=lots(f"{old}e-2")), make_instrument(volume_step=lots(f"{new}e-2"))
    found = instrument_findings({"EURUSD": before}, {"EURUSD": after}, pending=())
    assert bool(found) is (old != new)
    assert any(finding.blocks is Blocks.OPENING for finding in found) is not is_multiple(
        before.volume_step, after.volume_step
    )


def test_the_same_number_written_otherwise_is_no_change() -> None:
    assert changed(contract_size=Decimal("1E+5"), volume_step=lots("0.010"), point=Decimal("0.0000100")) == ()


def test_an_unaccepted_change_is_found_until_the_old_contract_is_back() -> None:
    """The books know the new value from the first reading on; what counts is what was last accepted."""
    waiting = (Pending(symbol="EURUSD", term="contract_size", was="10000", shown="100000"),)

    (still,) = changed(pending=waiting)
    (again,) = changed(pending=waiting, contract_size=Decimal(10_000))

    assert (still.blocks, still.was, still.shown) == (Blocks.OPENING, "10000", "100000")
    assert (again.blocks, again.was, again.shown) == (Blocks.NOTHING, "100000", "10000")


@pytest.mark.parametrize(
    ("appeared", "told"),
    [
        ((), "the broker lists no EURUSD any more"),
        (("EURUSD.x",), "the broker lists no EURUSD any more; new beside it is EURUSD.x"),
        (("mEURUSD", "EURUSD.pro", "GBPUSD.x"), "new beside it is EURUSD.pro, mEURUSD"),
        (("EUR",), "new beside it is EUR"),
    ],
)
def test_a_vanished_symbol_names_what_appeared_under_its_name(appeared: tuple[str, ...], told: str) -> None:
    (finding,) = instrument_findings(shown("EURUSD", "XAUUSD"), shown("XAUUSD", *appeared), pending=())
    assert (finding.kind, finding.subject, finding.blocks) == (
        FindingKind.SYMBOL_VANISHED,
        "EURUSD",
        Blocks.OPENING,
    )
    assert told in finding.message


def test_a_symbol_that_was_there_all_along_is_no_namesake() -> None:
    known = shown("EURUSD", "EURUSD.x")
    (finding,) = instrument_findings(known, shown("EURUSD.x"), pending=())
    assert finding.shown == ""


def test_a_new_symbol_differs_from_nothing() -> None:
    assert instrument_findings(shown("EURUSD"), shown("EURUSD", "XAUUSD"), pending=()) == ()


def test_leverage_is_told_when_it_changes() -> None:
    assert leverage_findings(known=None, present=100) == ()
    assert leverage_findings(known=100, present=100) == ()
    (finding,) = leverage_findings(known=100, present=30)
    assert (finding.kind, finding.blocks) == (FindingKind.LEVERAGE_CHANGED, Blocks.NOTHING)
    assert finding.message == "leverage is 1:30 instead of 1:100"


def test_a_contract_says_what_another_one_has_instead() -> None:
    euro = make_instrument().contract
    assert euro.changes(Contract(**{**vars(euro), "contract_size": Decimal("1E+5")})) == {}
    assert euro.changes(replace(euro, contract_size=Decimal(1000), digits=4)) == {
        "contract_size": ("100000", "1000"),
        "digits": ("5", "4"),
    }


@given(st.decimals(min_value=0, max_value=10**9, places=8), st.integers(0, 10))
def test_a_number_is_written_alike_however_many_zeros_it_has(value: Decimal, zeros: int) -> None:
    padded = value.quantize(Decimal(1).scaleb(-8 - zeros)) if zeros else value
    assert written(padded) == written(value)
    assert Decimal(written(value)) == value
