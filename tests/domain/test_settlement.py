"""The money of a fill as ledger lines: they sum to zero, and cash is what the account really gained."""

from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from domain.attribution import Opener, allocate
from domain.fills import Entry, Fill, FillKind
from domain.money import ZERO, Lots
from domain.settlement import CASH, entries, event_id, reversal_id
from tests.factories import ACCOUNT_ID, TRADE_ID, lots, make_exit, make_fill
from tests.strategies import executions, money_records, openers


@given(executions() | money_records(), openers())
def test_the_lines_sum_to_zero_and_cash_is_that_of_the_fill(fill: Fill, opened: tuple[Opener, ...]) -> None:
    lines = entries(fill, allocate(fill, maker=TRADE_ID, openers=opened))

    assert sum((line.amount for line in lines), ZERO) == 0
    assert sum((line.amount for line in lines if line.account == CASH), ZERO) == fill.cash
    assert all(line.amount != 0 for line in lines)


@given(executions(), openers())
def test_each_trade_bears_the_money_of_its_own_lines(fill: Fill, opened: tuple[Opener, ...]) -> None:
    allocations = allocate(fill, maker=TRADE_ID, openers=opened)
    lines = entries(fill, allocations)

    for owner in {allocation.trade_id for allocation in allocations}:
        mine = [a for a in allocations if a.trade_id == owner]
        gained = sum((a.profit + a.commission + a.swap + a.fee for a in mine), ZERO)
        caused = sum((e.amount for e in lines if e.trade_id == owner and e.account != CASH), ZERO)
        assert caused == -gained


def test_a_fill_without_money_posts_nothing() -> None:
    fill = make_fill(commission=ZERO)
    assert entries(fill, allocate(fill, maker=TRADE_ID, openers=())) == ()


def test_causes_that_cancel_out_post_no_cash() -> None:
    fill = make_exit(profit=Decimal("0.35"))
    lines = entries(fill, allocate(fill, maker=None, openers=(Opener(trade_id=TRADE_ID, volume=lots("1")),)))

    assert {line.account: line.amount for line in lines} == {
        "trading_profit": Decimal("-0.35"),
        "commission": Decimal("0.35"),
    }


def test_a_gain_is_named_by_its_cause() -> None:
    fill = make_exit(swap=Decimal("-0.15"))
    lines = entries(fill, allocate(fill, maker=None, openers=(Opener(trade_id=TRADE_ID, volume=lots("1")),)))

    assert {line.account: line.amount for line in lines} == {
        CASH: Decimal("9.50"),
        "trading_profit": Decimal("-10.00"),
        "commission": Decimal("0.35"),
        "swap": Decimal("0.15"),
    }


@given(st.sampled_from(FillKind))
def test_every_kind_of_record_has_its_account(kind: FillKind) -> None:
    fill = make_fill(kind=kind, entry=Entry.NONE, volume=Lots(ZERO), profit=Decimal("1.00"), commission=ZERO)
    lines = entries(fill, allocate(fill, maker=None, openers=()))

    assert [line.amount for line in lines] == [Decimal("1.00"), Decimal("-1.00")]
    assert (lines[1].account == "trading_profit") == (kind is FillKind.TRADE)


def test_a_deposit_comes_from_external_money() -> None:
    deposit = make_fill(
        kind=FillKind.BALANCE, entry=Entry.NONE, volume=Lots(ZERO), profit=Decimal(500), commission=ZERO
    )
    lines = entries(deposit, allocate(deposit, maker=None, openers=()))
    assert {line.account: line.amount for line in lines} == {CASH: Decimal(500), "external_money": Decimal(-500)}


@given(st.integers(1), st.integers(1, 50), st.integers(1), st.integers(1, 50))
def test_event_ids_are_the_same_for_the_same_revision_alone(one: int, first: int, other: int, second: int) -> None:
    same = (one, first) == (other, second)
    assert (event_id(ACCOUNT_ID, one, first) == event_id(ACCOUNT_ID, other, second)) == same
    assert event_id(ACCOUNT_ID, one, first) != reversal_id(ACCOUNT_ID, other, second)
    assert event_id(UUID(int=9), one, first) != event_id(ACCOUNT_ID, one, first)
