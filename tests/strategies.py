"""Hypothesis strategies for volumes, money, fills and what they belong to."""

from decimal import Decimal
from uuid import UUID

from hypothesis import strategies as st

from domain.attribution import Opener
from domain.fills import Entry, Fill, FillKind
from domain.money import CENT, Lots, Price
from domain.reservations import Amounts
from tests.factories import make_exit, make_fill

STEP = Decimal("0.01")
POINT = Decimal("0.00001")


def volumes(*, steps_min: int = 1, steps_max: int = 5_000) -> st.SearchStrategy[Lots]:
    """Multiples of 0.01 lots."""
    return st.integers(steps_min, steps_max).map(lambda steps: Lots(steps * STEP))


def cents(*, least: int = -1_000_000, most: int = 1_000_000) -> st.SearchStrategy[Decimal]:
    return st.integers(least, most).map(lambda count: count * CENT)


def claims() -> st.SearchStrategy[Decimal]:
    """Amounts held against a limit: in cents, never negative."""
    return cents(least=0)


def prices() -> st.SearchStrategy[Price]:
    return st.integers(50_000, 200_000).map(lambda points: Price(points * POINT))


def trade_ids() -> st.SearchStrategy[UUID]:
    return st.integers(1, 10_000).map(lambda number: UUID(int=number))


@st.composite
def executions(draw: st.DrawFn, *, entries: tuple[Entry, ...] = tuple(Entry)) -> Fill:
    """An execution with money in every column."""
    return make_exit(
        ticket=draw(st.integers(1, 10_000)),
        entry=draw(st.sampled_from(entries)),
        volume=draw(volumes()),
        price=draw(prices()),
        profit=draw(cents()),
        commission=draw(cents(least=-10_000, most=0)),
        swap=draw(cents(least=-10_000, most=10_000)),
        fee=draw(cents(least=-10_000, most=0)),
    )


@st.composite
def money_records(draw: st.DrawFn) -> Fill:
    """A deposit, a dividend, a correction …: money without an execution."""
    kinds = [kind for kind in FillKind if kind is not FillKind.TRADE]
    return make_fill(
        kind=draw(st.sampled_from(kinds)),
        entry=Entry.NONE,
        side="",
        symbol="",
        broker_order_id=0,
        position_id=0,
        magic=0,
        volume=Lots(Decimal(0)),
        price=Price(Decimal(0)),
        profit=draw(cents()),
        commission=draw(cents(least=-10_000, most=0)),
        swap=draw(cents(least=-10_000, most=10_000)),
        fee=draw(cents(least=-10_000, most=0)),
    )


@st.composite
def openers(draw: st.DrawFn) -> tuple[Opener, ...]:
    """Up to five trades of one position, oldest first, some closed already.

    One may be external, and that one closed beyond what it opened in our sight.
    """
    owners = draw(st.lists(st.none() | trade_ids(), unique=True, max_size=5))
    return tuple(Opener(trade_id=owner, volume=draw(volumes(steps_min=0 if owner else -100))) for owner in owners)


@st.composite
def order_fills(draw: st.DrawFn) -> list[Fill]:
    """Executions of one order, each with a ticket of its own."""
    tickets = draw(st.lists(st.integers(1, 10_000), unique=True, min_size=1, max_size=8))
    return [make_fill(ticket=ticket, volume=draw(volumes()), price=draw(prices())) for ticket in tickets]


@st.composite
def amounts(draw: st.DrawFn) -> Amounts:
    return Amounts(volume=draw(volumes()), loss=draw(claims()), notional=draw(claims()), margin=draw(claims()))
