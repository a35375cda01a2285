"""Runs and discrepancies of the tests of the API, written as the reconciliation writes them."""

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from db import discrepancies, runs
from db.accounts import read_account
from db.book_side import read_books
from db.discrepancies import Seen, Standing
from db.runs import Run
from domain.discrepancies import DiscrepancyState
from domain.money import ZERO
from domain.reconciliation import Difference, DifferenceKind, RunCause, Side, Tier, Verdict
from tests.api.books import id_of
from tests.api.conftest import Api

DIFFERING = "/api/reconciliation/discrepancies"

_orders = itertools.count(8_000_001)


async def booked(api: Api) -> Side:
    """What the books have of the second account."""
    async with api.database.engine("owner").connect() as connection:
        return (await read_books(connection, id_of("second"), quiet=timedelta(0))).side


async def balance_gap(api: Api, amount: str) -> Difference:
    ours = (await booked(api)).balance
    return Difference(
        kind=DifferenceKind.BALANCE,
        subject="balance",
        ours=ours,
        theirs=ours + Decimal(amount),
        impact=abs(Decimal(amount)),
    )


def order_gap() -> Difference:
    """An order under a number of ours that no trade has; each time another one."""
    number = next(_orders)
    return Difference(
        kind=DifferenceKind.ORDER_UNKNOWN,
        subject=f"order #{number}",
        number=number,
        ours=None,
        theirs=Decimal(1),
        impact=ZERO,
        told="buy 0.10 EURUSD",
    )


async def waiting(
    api: Api,
    difference: Difference | None = None,
    *,
    account: str = "second",
    state: DiscrepancyState = DiscrepancyState.OPEN,
    tier: Tier = Tier.REVIEW,
) -> UUID:
    """The id of a discrepancy that was just found: an order, if nothing else is said."""
    found = uuid4()
    async with api.database.engine("pipeline").begin() as connection:
        await discrepancies.see(
            connection,
            await read_account(connection, account),
            difference or order_gap(),
            Standing(id=found, state=state, tier=tier),
            seen=Seen(run_id=uuid4(), at=datetime.now(UTC), actor="test"),
            known=None,
        )
    return found


async def past_run(api: Api, *, account: str = "second", verdict: Verdict = Verdict.CLEAN) -> UUID:
    """The id of a run that has ended."""
    now = datetime.now(UTC)
    async with api.database.engine("owner").connect() as connection:
        books = await read_books(connection, id_of(account), quiet=timedelta(0))
    run = Run(
        id=uuid4(),
        account_id=id_of(account),
        cause=RunCause.SCHEDULE,
        verdict=verdict,
        reason="the broker could not be read" if verdict is Verdict.INCONCLUSIVE else None,
        began_at=now,
        read_at=None if verdict is Verdict.INCONCLUSIVE else now,
        watermark=books.watermark,
        counts={},
        totals={},
        explained=(),
        report=None,
    )
    async with api.database.engine("pipeline").begin() as connection:
        await runs.write(connection, run)
    return run.id


async def shown(api: Api, discrepancy_id: UUID, *, name: str = "risk") -> dict[str, Any]:
    answer = await api.call(name, "GET", f"{DIFFERING}/{discrepancy_id}")
    told: dict[str, Any] = answer.json()
    assert answer.status_code == 200, told
    return told
