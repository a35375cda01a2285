"""The end of a run of the reconciliation, in one transaction.

1. A run is concluded once; a repeat gets the first answer.
2. Where a record was booked since the comparison, nothing follows from it, and the next run looks again.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from temporalio import activity

from activities.conclusions import Concluded, ConcludeRun, Conclusion
from db import accounts, book_side, discrepancies, locks, runs
from db.accounts import Account
from domain.discrepancies import DiscrepancyState
from domain.reconciliation import (
    Thresholds,
    Verdict,
)


class ConcludingActivities:
    """`stop_all` stops everything instead of the account alone."""

    def __init__(
        self, engine: AsyncEngine, *, thresholds: Thresholds, stop_all: bool, now: Callable[[], datetime]
    ) -> None:
        self._engine = engine
        self._thresholds = thresholds
        self._stop_all = stop_all
        self._now = now

    @property
    def activities(self) -> list[Callable[..., Any]]:
        """What a worker registers."""
        return [self.conclude_run]

    @activity.defn(name="conclude_run")
    async def conclude_run(self, step: ConcludeRun) -> Concluded:
        """Write the run down with all that follows from it."""
        async with self._engine.begin() as connection:
            account = await accounts.read_account(connection, step.account_slug)
            await locks.take(connection, locks.Queue.BOOKING, account.id)
            known = await runs.verdict_of(connection, step.run_id)
            if known is not None:
                return await self._concluded(connection, account, step, verdict=known)
            conclusion = Conclusion(
                connection=connection,
                account=account,
                step=await self._still_so(connection, account, step),
                thresholds=self._thresholds,
                stop_all=self._stop_all,
                now=self._now(),
            )
            return await self._concluded(connection, account, step, verdict=await conclusion.draw())

    async def _still_so(self, connection: AsyncConnection, account: Account, step: ConcludeRun) -> ConcludeRun:
        """The step, but inconclusive if the books have moved on since they were compared."""
        if not step.found or step.reason is not None:
            return step
        books = await book_side.read_books(connection, account.id, quiet=timedelta(0))
        if books.watermark == step.watermark and all(books.still_has(each) for each in step.found):
            return step
        return replace(step, found=(), reason="the books moved on while they were compared")

    async def _concluded(
        self, connection: AsyncConnection, account: Account, step: ConcludeRun, *, verdict: Verdict
    ) -> Concluded:
        found = await discrepancies.waiting(connection, account.id)
        return Concluded(
            run_id=step.run_id,
            verdict=verdict,
            reviews=tuple(each.id for each in found.values() if each.state is not DiscrepancyState.KEPT_OUT),
            ended=await discrepancies.explained_by(connection, step.run_id),
        )
