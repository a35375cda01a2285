"""Whose a fill is. The lines of a fill always sum to the fill, in lots and in every column of money."""

from collections.abc import Sequence
from decimal import Decimal
from uuid import UUID

from hypothesis import given

from domain.attribution import Allocation, AllocationRole, Opener, allocate, covered
from domain.fills import Entry, Fill, FillKind
from domain.money import ZERO, Lots
from tests.factories import TRADE_ID, lots, make_exit, make_fill
from tests.strategies import executions, money_records, openers

FIRST, SECOND = UUID(int=1), UUID(int=2)
MONEY = ("profit", "commission", "swap", "fee")


def total(lines: Sequence[Allocation], column: str) -> Decimal:
    return sum((getattr(line, column) for line in lines), ZERO)


def owners(lines: Sequence[Allocation]) -> list[tuple[UUID | None, AllocationRole, Decimal]]:
    return [(line.trade_id, line.role, line.volume) for line in lines]


@given(executions() | money_records(), openers())
def test_the_lines_sum_to_the_fill_in_lots_and_in_every_column_of_money(
    fill: Fill, open_trades: tuple[Opener, ...]
) -> None:
    lines = allocate(fill, maker=TRADE_ID, openers=open_trades)

    for column in ("volume", *MONEY):
        assert total(lines, column) == getattr(fill, column), column


@given(executions() | money_records(), openers())
def test_every_share_is_in_whole_cents(fill: Fill, open_trades: tuple[Opener, ...]) -> None:
    for line in allocate(fill, maker=None, openers=open_trades):
        for column in MONEY:
            assert getattr(line, column) == getattr(line, column).quantize(Decimal("0.01"))


@given(executions(entries=(Entry.OUT, Entry.OUT_BY)), openers())
def test_a_trade_closes_no_more_than_it_opened_and_the_rest_is_external(
    fill: Fill, open_trades: tuple[Opener, ...]
) -> None:
    left = {opener.trade_id: opener.volume for opener in open_trades}
    lines = allocate(fill, maker=TRADE_ID, openers=open_trades)

    for line in lines:
        assert line.role is AllocationRole.CLOSE
        if line.trade_id is not None:
            assert 0 < line.volume <= left[line.trade_id]
    assert covered(fill, open_trades) == (sum(left.values(), ZERO) >= fill.volume)


@given(executions(entries=(Entry.OUT,)), openers())
def test_the_oldest_opener_is_used_up_before_the_next_is_touched(
    fill: Fill, open_trades: tuple[Opener, ...]
) -> None:
    alive = [opener for opener in open_trades if opener.volume > 0]
    lines = allocate(fill, maker=None, openers=open_trades)

    for opener, line in zip(alive, lines[:-1], strict=False):
        assert (line.trade_id, line.volume) == (opener.trade_id, opener.volume)


@given(executions(), openers())
def test_a_reversal_takes_back_every_line(fill: Fill, open_trades: tuple[Opener, ...]) -> None:
    for line in allocate(fill, maker=TRADE_ID, openers=open_trades):
        back = line.reversed()
        assert (back.trade_id, back.role) == (line.trade_id, line.role)
        assert all(getattr(line, column) + getattr(back, column) == 0 for column in ("volume", *MONEY))
        assert back.reversed() == line


def test_an_opening_fill_belongs_to_the_trade_that_made_it() -> None:
    lines = allocate(make_fill(), maker=TRADE_ID, openers=())

    assert owners(lines) == [(TRADE_ID, AllocationRole.OPEN, lots("0.10"))]
    assert lines[0].commission == Decimal("-0.35")


def test_an_opening_fill_that_no_trade_made_is_external() -> None:
    assert owners(allocate(make_fill(), maker=None, openers=())) == [(None, AllocationRole.OPEN, lots("0.10"))]


def test_profit_goes_to_those_who_opened_not_to_the_one_who_closed() -> None:
    fill = make_exit(volume=lots("0.30"), profit=Decimal("10.00"), commission=Decimal("-1.00"))
    opened = (Opener(trade_id=FIRST, volume=lots("0.10")), Opener(trade_id=SECOND, volume=lots("0.50")))

    lines = allocate(fill, maker=TRADE_ID, openers=opened)

    assert owners(lines) == [
        (FIRST, AllocationRole.CLOSE, lots("0.10")),
        (SECOND, AllocationRole.CLOSE, lots("0.20")),
    ]
    assert [line.profit for line in lines] == [Decimal("3.33"), Decimal("6.67")]
    assert [line.commission for line in lines] == [Decimal("-0.33"), Decimal("-0.67")]


def test_an_exit_beyond_what_we_opened_is_partly_external() -> None:
    opened = (Opener(trade_id=FIRST, volume=lots("0.04")),)

    assert owners(allocate(make_exit(), maker=None, openers=opened)) == [
        (FIRST, AllocationRole.CLOSE, lots("0.04")),
        (None, AllocationRole.CLOSE, lots("0.06")),
    ]


def test_a_reversing_fill_is_half_exit_and_half_entry() -> None:
    fill = make_exit(entry=Entry.INOUT, volume=lots("0.30"), profit=Decimal("-4.00"), commission=Decimal("-0.90"))
    opened = (Opener(trade_id=FIRST, volume=lots("0.10")),)

    lines = allocate(fill, maker=TRADE_ID, openers=opened)

    assert owners(lines) == [
        (FIRST, AllocationRole.CLOSE, lots("0.10")),
        (TRADE_ID, AllocationRole.OPEN, lots("0.20")),
    ]
    # Only closing lots realise profit; every lot pays commission.
    assert [line.profit for line in lines] == [Decimal("-4.00"), ZERO]
    assert [line.commission for line in lines] == [Decimal("-0.30"), Decimal("-0.60")]


def test_a_reversing_fill_without_a_known_opener_opens_in_full() -> None:
    lines = allocate(make_exit(entry=Entry.INOUT), maker=TRADE_ID, openers=())

    assert owners(lines) == [(TRADE_ID, AllocationRole.OPEN, lots("0.10"))]
    assert lines[0].profit == Decimal("10.00")


def test_money_of_a_position_belongs_to_its_first_opener_and_a_deposit_to_nobody() -> None:
    dividend = make_fill(kind=FillKind.DIVIDEND, entry=Entry.NONE, volume=Lots(ZERO), profit=Decimal("2.50"))
    opened = (Opener(trade_id=FIRST, volume=lots("0.10")), Opener(trade_id=SECOND, volume=lots("0.10")))

    assert owners(allocate(dividend, maker=None, openers=opened)) == [(FIRST, AllocationRole.MONEY, ZERO)]
    assert owners(allocate(dividend, maker=None, openers=())) == [(None, AllocationRole.MONEY, ZERO)]


def test_an_execution_without_volume_moves_money_alone() -> None:
    for entry in Entry:
        lines = allocate(make_exit(entry=entry, volume=Lots(ZERO)), maker=TRADE_ID, openers=())
        assert owners(lines) == [(TRADE_ID, AllocationRole.MONEY, ZERO)]
        assert total(lines, "profit") == Decimal("10.00")


def test_only_exits_wait_for_their_openers() -> None:
    assert covered(make_fill(), ())
    assert not covered(make_exit(), ())
    assert covered(make_exit(), (Opener(trade_id=FIRST, volume=lots("0.10")),))
