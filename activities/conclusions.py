"""What follows from a comparison: explained, corrected, put to a person, or trading stopped; all in one commit.

1. It acts only on the books that were compared.
2. The stop is latched in the transaction that keeps the discrepancy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid5

from sqlalchemy.ext.asyncio import AsyncConnection

from db import corrections, discrepancies, ledger, runs, triggers
from db.accounts import Account
from db.discrepancies import Discrepancy, Seen, Standing
from db.journal import record
from db.runs import Explained, Run
from domain.controls import ControlScope
from domain.discrepancies import DiscrepancyState
from domain.money import ZERO
from domain.reconciliation import (
    MONEY,
    POSITIONS,
    Cause,
    Difference,
    RunCause,
    Thresholds,
    Tier,
    Verdict,
    correction_id,
    discrepancy_id,
)
from domain.stops import StopCause
from domain.triggers import Tripped


@dataclass(frozen=True, kw_only=True)
class ConcludeRun:
    """What was compared and confirmed; `reason` says why a run came to nothing, and then nothing is compared.

    `found_tickets` are the records that the comparison itself brought into the books.
    """

    run_id: UUID
    account_slug: str
    cause: RunCause
    began_at: datetime
    read_at: datetime | None = None
    watermark: int = 0
    found: tuple[Difference, ...] = ()
    kept_out: tuple[Difference, ...] = ()
    found_tickets: tuple[int, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    totals: Mapping[str, Decimal] = field(default_factory=dict)
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Concluded:
    """`reviews` are the discrepancies that wait for a person, `ended` those that need nobody any more."""

    run_id: UUID
    verdict: Verdict
    reviews: tuple[UUID, ...] = ()
    ended: tuple[UUID, ...] = ()


@dataclass(kw_only=True)
class Conclusion:
    """One run being concluded, in its transaction."""

    connection: AsyncConnection
    account: Account
    step: ConcludeRun
    thresholds: Thresholds
    stop_all: bool
    now: datetime

    async def draw(self) -> Verdict:
        step = self.step
        last = await runs.last_run(self.connection, self.account.id)
        if last is None and any(each.kind in MONEY | POSITIONS for each in step.kept_out):
            # Else the next run would find what the account had before the books, with nothing to explain it.
            step = self.step = replace(step, reason=step.reason or "the books are opened once nothing moves")
        if step.reason is not None or step.read_at is None:
            await self._write(
                Verdict.INCONCLUSIVE, explained=(), watermark=0 if last is None else last["watermark"]
            )
            await runs.tell_of_silence(self.connection, self.account, reason=step.reason)
            return Verdict.INCONCLUSIVE
        explained = await runs.explain(
            self.connection,
            self.account.id,
            after=0 if last is None else last["watermark"],
            watermark=step.watermark,
            last_read_at=None if last is None else last["read_at"],
            found=step.found_tickets,
        )
        known = await discrepancies.waiting(self.connection, self.account.id)
        if last is None:
            explained += await self._open(step.found)
            tiers: list[Tier] = []
        else:
            accepted = await discrepancies.accepted_as_seen(self.connection, self.account.id)
            tiers = await self._act(tuple(each for each in step.found if each.shown not in accepted), known)
        await self._keep_out(known)
        await self._end(known, explained)
        verdict = _verdict(tiers, step.kept_out, explained, still_open=self._still_open(known))
        report = await self._report(last, explained, verdict) if step.cause is RunCause.STARTUP else None
        await self._write(verdict, explained=explained, watermark=step.watermark, report=report)
        await runs.note_reconciled(self.connection, self.account, read_at=step.read_at)
        return verdict

    @property
    def _seen(self) -> Seen:
        assert self.step.read_at is not None, "only what was read is seen"
        return Seen(run_id=self.step.run_id, at=self.step.read_at, actor=f"reconciliation:{self.account.slug}")

    async def _open(self, found: tuple[Difference, ...]) -> tuple[Explained, ...]:
        """The first run takes what the account had before its records were read as the start of the books."""
        for each in found:
            if each.kind in MONEY:
                event = uuid5(self.account.id, f"opening:{each.kind}")
                await corrections.open_money(
                    self.connection, self.account, kind=each.kind, amount=each.amount, event_id=event
                )
            elif each.kind in POSITIONS:
                await self._adjust(each, discrepancy_id=None)
        money = sum((each.amount for each in found if each.kind in MONEY), ZERO)
        opened = [each for each in found if each.kind in MONEY | POSITIONS]
        if not opened:
            return ()
        numbers = tuple(each.number for each in opened if each.number is not None)[: runs.EVIDENCE_MAX]
        return (Explained(cause=Cause.OPENING, count=len(opened), amount=money, tickets=numbers),)

    async def _adjust(self, difference: Difference, *, discrepancy_id: UUID | None) -> None:
        assert difference.number is not None, "a position has a number"
        await corrections.adjust_position(
            self.connection,
            self.account,
            position_id=difference.number,
            symbol=difference.symbol,
            lots=difference.amount,
            price=None,
            discrepancy_id=discrepancy_id,
        )

    async def _act(self, found: tuple[Difference, ...], known: Mapping[str, Discrepancy]) -> list[Tier]:
        tiers: list[Tier] = []
        for each in found:
            before = known.get(each.key)
            tier = await self._tier(each, before)
            number = self._number(each) if before is None else before.id
            event_id = await self._correct(each) if tier is Tier.CORRECT else None
            await discrepancies.see(
                self.connection,
                self.account,
                each,
                Standing(
                    id=number,
                    state=_state(tier, before),
                    tier=tier,
                    event_id=event_id,
                ),
                seen=self._seen,
                known=before,
            )
            tiers.append(tier)
        beyond = [each for each, tier in zip(found, tiers, strict=True) if tier is Tier.STOP]
        if beyond:
            await self._stop(beyond)
        return tiers

    async def _tier(self, difference: Difference, before: Discrepancy | None) -> Tier:
        day = await discrepancies.corrected_today(self.connection, self.account.id, now=self.now)
        tier = self.thresholds.tier(difference.kind, difference.impact, corrected_today=day)
        if tier is not Tier.CORRECT:
            return tier
        # What a person was asked about is not taken out of their hands because it has shrunk.
        asked = before is not None and before.state is not DiscrepancyState.KEPT_OUT
        return Tier.REVIEW if asked or await self._corrected_before(difference) else Tier.CORRECT

    async def _corrected_before(self, difference: Difference) -> bool:
        """Whether the same was corrected over the same books: money that comes and goes is for a person."""
        return await ledger.is_posted(self.connection, self._correction(difference))

    def _correction(self, difference: Difference) -> UUID:
        return correction_id(self.account.id, difference, watermark=self.step.watermark)

    def _number(self, difference: Difference) -> UUID:
        return discrepancy_id(self.step.run_id, difference)

    async def _correct(self, difference: Difference) -> UUID:
        event_id = self._correction(difference)
        await corrections.correct_money(
            self.connection,
            self.account,
            kind=difference.kind,
            amount=difference.amount,
            event_id=event_id,
            why=f"unexplained {difference.kind}, corrected by run {self.step.run_id}",
        )
        return event_id

    async def _stop(self, beyond: list[Difference]) -> None:
        told = ", ".join(
            f"{each.subject} by {each.amount}" + (f" ({each.impact:.2f} USD)" if each.impact is not None else "")
            for each in beyond
        )
        tripped = Tripped(
            cause=StopCause.UNEXPLAINED_DIFFERENCE,
            scope=ControlScope.ALL if self.stop_all else ControlScope.ACCOUNT,
            scope_id="" if self.stop_all else self.account.slug,
            reason=f"books and broker of {self.account.slug} differ and nothing explains it: {told}"[:500],
        )
        if not await triggers.stands(self.connection, tripped):
            await triggers.trip(
                self.connection,
                [tripped],
                ids=[uuid5(self.step.run_id, "stop")],
                actor=self._seen.actor,
                now=self.now,
            )

    async def _keep_out(self, known: Mapping[str, Discrepancy]) -> None:
        for each in self.step.kept_out:
            before = known.get(each.key)
            if before is not None and before.state is not DiscrepancyState.KEPT_OUT:
                continue
            await discrepancies.see(
                self.connection,
                self.account,
                each,
                Standing(
                    id=self._number(each) if before is None else before.id,
                    state=DiscrepancyState.KEPT_OUT,
                    tier=self.thresholds.tier(each.kind, each.impact),
                ),
                seen=self._seen,
                known=before,
            )

    async def _end(self, known: Mapping[str, Discrepancy], explained: tuple[Explained, ...]) -> None:
        named = (*self.step.found, *self.step.kept_out)
        if sum(self.step.counts.get(name, 0) for name in ("differences", "kept_out")) > len(named):
            # There were more than a run names, so that what it does not name may still be there.
            return
        seen = {each.key for each in named}
        cause = next((each.cause for each in explained if each.cause in _LATE), None)
        for key, each in known.items():
            if key not in seen:
                await discrepancies.end(self.connection, self.account, each, seen=self._seen, cause=cause)

    def _still_open(self, known: Mapping[str, Discrepancy]) -> bool:
        kept_out = {each.key for each in self.step.kept_out}
        asked = (key for key, each in known.items() if each.state is not DiscrepancyState.KEPT_OUT)
        return any(key in kept_out for key in asked)

    async def _report(self, last: Any, explained: tuple[Explained, ...], verdict: Verdict) -> dict[str, Any]:
        """What happened while nobody looked, and whether it needs a person."""
        return {
            "away_since": None if last is None else last["ended_at"],
            "happened": [
                f"{each.count} {each.cause}, {each.amount} {self.account.currency}" for each in explained
            ],
            "needs_person": verdict in {Verdict.REVIEW, Verdict.STOPPED},
        }

    async def _write(
        self,
        verdict: Verdict,
        *,
        explained: tuple[Explained, ...],
        watermark: int,
        report: dict[str, Any] | None = None,
    ) -> None:
        step = self.step
        run = Run(
            id=step.run_id,
            account_id=self.account.id,
            cause=step.cause,
            verdict=verdict,
            reason=step.reason,
            began_at=step.began_at,
            read_at=step.read_at,
            watermark=watermark,
            counts=step.counts,
            totals=step.totals,
            explained=explained,
            report=report,
        )
        await runs.write(self.connection, run)
        await record(
            self.connection,
            f"reconciliation.{verdict}",
            actor=f"reconciliation:{self.account.slug}",
            subject=f"run:{step.run_id}",
            detail={
                "verdict": verdict,
                "reason": step.reason,
                "found": len(step.found),
                "explained": len(explained),
            },
            account_id=self.account.id,
        )


# Causes that may be what an open discrepancy was waiting for.
_LATE = (Cause.LATE_DEAL, Cause.MISSED_FILL, Cause.CORRECTION, Cause.MANUAL_TRADE)


def _state(tier: Tier, before: Discrepancy | None) -> DiscrepancyState:
    if tier is Tier.CORRECT:
        return DiscrepancyState.CORRECTED
    if before is not None and before.state is DiscrepancyState.DISPUTED:
        return DiscrepancyState.DISPUTED
    return DiscrepancyState.OPEN


def _verdict(
    tiers: list[Tier],
    kept_out: tuple[Difference, ...],
    explained: tuple[Explained, ...],
    *,
    still_open: bool,
) -> Verdict:
    if Tier.STOP in tiers:
        return Verdict.STOPPED
    if Tier.REVIEW in tiers or still_open:
        return Verdict.REVIEW
    if Tier.CORRECT in tiers:
        return Verdict.CORRECTED
    if kept_out:
        return Verdict.WAITING
    return Verdict.EXPLAINED if explained else Verdict.CLEAN
