"""Comparisons as they might have been read, concluded and decided on the real books, and what those have then."""

import itertools
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from temporalio.testing import ActivityEnvironment

from activities.concluding import ConcludingActivities
from activities.conclusions import Concluded, ConcludeRun
from activities.deciding import DecideDiscrepancy, DecidingActivities, DiscrepancyProgress
from db.book_side import BookSide, read_books
from domain.discrepancies import Decision, DiscrepancyState
from domain.fills import Entry, Fill, FillKind
from domain.money import ZERO, Lots
from domain.reconciliation import Difference, DifferenceKind, RunCause, Thresholds
from tests.db.books import SLUG, Books
from tests.factories import make_fill

LOT = Decimal(100_000)

_runs = itertools.count(1)
_tickets = itertools.count(30_000)


async def read_side(books: Books) -> BookSide:
    async with books.owner.connect() as connection:
        return await read_books(connection, books.account.id, quiet=timedelta(0))


async def balance_gap(books: Books, amount: str | Decimal, **changes: Any) -> Difference:
    """The broker's balance is by that much above the books, of dollars."""
    ours = (await read_side(books)).side.balance
    values: dict[str, Any] = {
        "kind": DifferenceKind.BALANCE,
        "subject": "balance",
        "ours": ours,
        "theirs": ours + Decimal(amount),
        "impact": abs(Decimal(amount)),
    }
    return Difference(**{**values, **changes})


async def credit_gap(books: Books, amount: str) -> Difference:
    gap = await balance_gap(books, amount, kind=DifferenceKind.CREDIT, subject="credit")
    ours = (await read_side(books)).side.credit
    return replace(gap, ours=ours, theirs=ours + Decimal(amount))


async def position_gap(books: Books, number: int, lots: str, **changes: Any) -> Difference:
    """The broker shows that many lots of a position, signed; what the books have of it they have."""
    held = (await read_side(books)).side.positions.get(number)
    ours, theirs = None if held is None else held.lots, Decimal(lots) or None
    kind = DifferenceKind.POSITION_VOLUME
    if ours is None:
        kind = DifferenceKind.POSITION_UNKNOWN
    elif theirs is None:
        kind = DifferenceKind.POSITION_MISSING
    values: dict[str, Any] = {
        "kind": kind,
        "subject": f"EURUSD #{number}",
        "symbol": "EURUSD",
        "number": number,
        "ours": ours,
        "theirs": theirs,
        "impact": Decimal(300),
    }
    return Difference(**{**values, **changes})


def order_gap(number: int = 7001) -> Difference:
    """The broker shows a working order that the books do not have."""
    return Difference(
        kind=DifferenceKind.ORDER_UNKNOWN,
        subject=f"order #{number}",
        number=number,
        ours=None,
        theirs=Decimal(1),
        impact=ZERO,
        told="buy 0.10 EURUSD",
    )


async def make_run(books: Books, *found: Difference, **changes: Any) -> ConcludeRun:
    """A run that read both sides just now."""
    values: dict[str, Any] = {
        "run_id": UUID(int=40_000 + next(_runs)),
        "account_slug": SLUG,
        "cause": RunCause.SCHEDULE,
        "began_at": books.now,
        "read_at": books.now,
        "watermark": (await read_side(books)).watermark,
        "found": found,
    }
    return ConcludeRun(**{**values, **changes})


async def conclude(books: Books, run: ConcludeRun, *, stop_all: bool = False) -> Concluded:
    concluding = ConcludingActivities(
        books.database.engine("pipeline"), thresholds=Thresholds(), stop_all=stop_all, now=lambda: books.now
    )
    return await ActivityEnvironment().run(concluding.conclude_run, run)


async def found(books: Books, *differences: Difference, **changes: Any) -> Concluded:
    """What a run made of what it found."""
    return await conclude(books, await make_run(books, *differences, **changes))


async def opened(books: Books, balance: str = "10000") -> Concluded:
    """The first run, which takes what the account had as the start of the books."""
    return await found(books, await balance_gap(books, balance))


async def waiting_gap(books: Books, amount: str) -> UUID:
    """The discrepancy that the next run makes of a balance that differs by that much."""
    (waiting,) = (await found(books, await balance_gap(books, amount))).reviews
    return waiting


def deciding(books: Books) -> DecidingActivities:
    return DecidingActivities(books.database.engine("pipeline"), now=lambda: books.now)


async def decide(
    books: Books, discrepancy_id: UUID, decision: Decision, *, by: str = "user:risk", reason: str = "told by mail"
) -> DiscrepancyProgress:
    said = DecideDiscrepancy(discrepancy_id=discrepancy_id, decision=decision, decided_by=by, reason=reason)
    return await ActivityEnvironment().run(deciding(books).decide_discrepancy, said)


async def waiting_position(books: Books, number: int, shown: str, **changes: Any) -> UUID:
    (waiting,) = (await found(books, await position_gap(books, number, shown, **changes))).reviews
    return waiting


async def position_lots(books: Books, number: int) -> Decimal | None:
    held = (await read_side(books)).side.positions.get(number)
    return None if held is None else held.lots


def money_record(amount: str, *, ago: timedelta, books: Books, **changes: Any) -> Fill:
    """Money that the broker moved without a trade, that long before now."""
    values: dict[str, Any] = {
        "ticket": next(_tickets),
        "kind": FillKind.BALANCE,
        "entry": Entry.NONE,
        "side": "",
        "symbol": "",
        "magic": 0,
        "broker_order_id": 0,
        "position_id": 0,
        "volume": Lots(ZERO),
        "commission": ZERO,
        "profit": Decimal(amount),
        "executed_at": books.now - ago,
    }
    return make_fill(**{**values, **changes})


async def entries(books: Books, code: str) -> list[Decimal]:
    """What was entered on a ledger account, in order."""
    rows = await books.rows(
        "SELECT e.amount FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.ledger_account_id"
        " WHERE a.code = :code ORDER BY e.posted_at, e.event_id",
        code=code,
    )
    return [row["amount"] for row in rows]


async def discrepancies(books: Books) -> list[dict[str, Any]]:
    return await books.rows("SELECT * FROM discrepancies ORDER BY created_at, kind, id")


async def states(books: Books) -> list[DiscrepancyState]:
    """The state of each discrepancy, the oldest first."""
    return [DiscrepancyState(row["state"]) for row in await discrepancies(books)]


async def controls(books: Books) -> list[tuple[str, str, str, str]]:
    rows = await books.rows(
        "SELECT scope, scope_id, state, cause FROM trading_control WHERE state <> 'active' ORDER BY scope"
    )
    return [(row["scope"], row["scope_id"], row["state"], row["cause"]) for row in rows]


async def alerts(books: Books) -> list[tuple[str, str, bool]]:
    """Each alert of a discrepancy: its kind, how severe it is, and whether its cause is over."""
    rows = await books.rows(
        "SELECT kind, severity, cleared_at IS NOT NULL AS over FROM alerts"
        " WHERE kind LIKE 'discrepancy%' ORDER BY id"
    )
    return [(row["kind"], row["severity"], row["over"]) for row in rows]


async def check_sums_of_money(books: Books) -> None:
    assert await books.rows("SELECT event_id FROM ledger_entries GROUP BY event_id HAVING sum(amount) <> 0") == []
