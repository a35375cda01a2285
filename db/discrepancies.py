"""Discrepancies in the books: one row from the day it is found until it is explained, corrected or decided.

1. At most one waits for each kind and subject; what it amounts to follows what each run sees.
2. Every change is recorded in the transaction that makes it.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db.accounts import Account
from db.journal import raise_alert, record
from db.jsons import plain
from db.tables import broker_accounts, discrepancies
from domain.discrepancies import WAITING, Decision, DiscrepancyState
from domain.errors import DiscrepancyDecided, DiscrepancyNotFound
from domain.reconciliation import MONEY, POSITIONS, Cause, Difference, DifferenceKind, Tier

# So many runs in a row may keep the same difference out before people are told.
KEPT_OUT_MAX = 5

_CORRECTED_TODAY = text("""
    SELECT coalesce(sum(d.impact_usd), 0) FROM discrepancies d JOIN broker_accounts b ON b.id = d.account_id
    WHERE d.account_id = :account_id AND d.state = 'corrected'
        AND d.ended_at >= date_trunc('day', CAST(:now AS timestamptz) AT TIME ZONE b.day_zone)
            AT TIME ZONE b.day_zone
""")


_CLEAR = text("UPDATE alerts SET cleared_at = clock_timestamp() WHERE key LIKE :keys AND cleared_at IS NULL")
_ACCOUNT_OF = text("""
    SELECT b.slug FROM discrepancies d JOIN broker_accounts b ON b.id = d.account_id WHERE d.id = :id
""")


@dataclass(frozen=True, kw_only=True)
class Discrepancy:
    """A difference as the books keep it; `said` is what was decided last, by whom and why."""

    id: UUID
    account_id: UUID
    difference: Difference
    state: DiscrepancyState
    tier: Tier
    run_count: int
    found_at: datetime
    said: tuple[str | None, str | None, str | None]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """By which run a difference was seen, and when the reading was made."""

    run_id: UUID
    at: datetime
    actor: str


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a difference stands after a run; `event_id` is the ledger event that corrects it."""

    id: UUID
    state: DiscrepancyState
    tier: Tier
    event_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What a person decided, and what it made of the discrepancy."""

    decision: Decision
    state: DiscrepancyState
    actor: str
    reason: str
    at: datetime
    event_id: UUID | None = None


async def waiting(connection: AsyncConnection, account_id: UUID) -> dict[str, Discrepancy]:
    """Those that have no end yet, by the key of their difference, locked."""
    query = (
        select(discrepancies)
        .where(discrepancies.c.account_id == account_id, discrepancies.c.state.in_(WAITING))
        .with_for_update()
    )
    found = [_discrepancy(row) for row in (await connection.execute(query)).mappings()]
    return {each.difference.key: each for each in found}


async def accepted_as_seen(
    connection: AsyncConnection, account_id: UUID
) -> frozenset[tuple[str, Decimal | None, Decimal | None]]:
    """What a person has accepted and nothing entered: it is no news as long as both sides show the same."""
    query = select(discrepancies).where(
        discrepancies.c.account_id == account_id,
        discrepancies.c.state == DiscrepancyState.ACCEPTED,
        discrepancies.c.kind.not_in(MONEY | POSITIONS),
    )
    found = [_discrepancy(row) for row in (await connection.execute(query)).mappings()]
    return frozenset(each.difference.shown for each in found)


async def lock(connection: AsyncConnection, discrepancy_id: UUID) -> Discrepancy:
    """Raises DiscrepancyNotFound."""
    query = select(discrepancies).where(discrepancies.c.id == discrepancy_id).with_for_update()
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise DiscrepancyNotFound(discrepancy_id)
    return _discrepancy(row)


async def account_slug(connection: AsyncConnection, discrepancy_id: UUID) -> str:
    """Of which account it is. Raises DiscrepancyNotFound."""
    slug: str | None = await connection.scalar(_ACCOUNT_OF, {"id": discrepancy_id})
    if slug is None:
        raise DiscrepancyNotFound(discrepancy_id)
    return slug


async def corrected_today(connection: AsyncConnection, account_id: UUID, *, now: datetime) -> Decimal:
    """What was corrected by itself since the day began, in US dollars, whatever its sign."""
    return Decimal(await connection.scalar(_CORRECTED_TODAY, {"account_id": account_id, "now": now}))


async def see(
    connection: AsyncConnection,
    account: Account,
    difference: Difference,
    standing: Standing,
    *,
    seen: Seen,
    known: Discrepancy | None,
) -> None:
    """Keep a difference as found, or as found once more."""
    values: dict[str, Any] = {
        "state": standing.state,
        "tier": standing.tier,
        "ours": difference.ours,
        "theirs": difference.theirs,
        "impact_usd": difference.impact,
        "evidence": plain({"told": difference.told, "rate_usd": difference.rate, "read_at": seen.at}),
        "last_run_id": seen.run_id,
        "seen_at": seen.at,
        "event_id": standing.event_id,
    }
    if standing.state is DiscrepancyState.CORRECTED:
        values["ended_at"] = seen.at
    if known is None:
        values |= {
            "id": standing.id,
            "account_id": account.id,
            "kind": difference.kind,
            "subject": difference.subject,
            "symbol": difference.symbol,
            "number": difference.number,
            "first_run_id": seen.run_id,
            "found_at": seen.at,
        }
        await connection.execute(insert(discrepancies).values(values))
    else:
        values["run_count"] = known.run_count + 1
        await connection.execute(update(discrepancies).where(discrepancies.c.id == known.id).values(values))
    if known is None or known.state is not standing.state:
        action = f"discrepancy.{standing.state}"
        await _record(connection, account, standing.id, action, actor=seen.actor, detail={"found": difference})
    await _alert(connection, account, difference, standing, known=known)


async def end(
    connection: AsyncConnection, account: Account, gone: Discrepancy, *, seen: Seen, cause: Cause | None
) -> None:
    """Note that a difference is not there any more: what was kept out has passed, what was open is explained."""
    kept_out = gone.state is DiscrepancyState.KEPT_OUT
    state = DiscrepancyState.PASSED if kept_out else DiscrepancyState.EXPLAINED
    await connection.execute(
        update(discrepancies)
        .where(discrepancies.c.id == gone.id)
        .values(state=state, cause=cause, ended_at=seen.at, last_run_id=seen.run_id)
    )
    await _clear_alerts(connection, gone.id)
    await _record(connection, account, gone.id, f"discrepancy.{state}", actor=seen.actor, detail={"cause": cause})


async def explained_by(connection: AsyncConnection, run_id: UUID) -> tuple[UUID, ...]:
    """Those that people were asked about and that this run found gone."""
    query = select(discrepancies.c.id).where(
        discrepancies.c.last_run_id == run_id, discrepancies.c.state == DiscrepancyState.EXPLAINED
    )
    return tuple((await connection.scalars(query)).all())


async def decide(
    connection: AsyncConnection, account: Account, discrepancy: Discrepancy, decided: Decided
) -> None:
    """Keep what a person decided. Raises DiscrepancyDecided if it has ended already."""
    if discrepancy.state not in WAITING:
        raise DiscrepancyDecided(discrepancy.id, discrepancy.state)
    ended_at = None if decided.state in WAITING else decided.at
    await connection.execute(
        update(discrepancies)
        .where(discrepancies.c.id == discrepancy.id)
        .values(
            state=decided.state,
            decision=decided.decision,
            decided_by=decided.actor,
            reason=decided.reason,
            ended_at=ended_at,
            event_id=decided.event_id,
        )
    )
    if ended_at is not None:
        await _clear_alerts(connection, discrepancy.id)
    detail = {"decision": decided.decision, "reason": decided.reason}
    action = f"discrepancy.{decided.state}"
    await _record(connection, account, discrepancy.id, action, actor=decided.actor, detail=detail)


async def remind(connection: AsyncConnection, discrepancy: Discrepancy, *, count: int, waited_hours: int) -> None:
    """Raise an alert anew for a discrepancy that nobody has decided."""
    await raise_alert(
        connection,
        "discrepancy_waits",
        key=f"{_alert_key(discrepancy.id)}:{count}",
        severity="warning" if count < ESCALATE_AFTER else "critical",
        summary=f"{discrepancy.difference.subject} has waited {waited_hours} h for a decision",
        account_id=discrepancy.account_id,
        trade_id=None,
    )


# The third reminder and all that follow are critical.
ESCALATE_AFTER = 3


async def standing_beyond(connection: AsyncConnection) -> list[tuple[str, Discrepancy]]:
    """Those that stopped trading and still wait, each with the slug of its account."""
    query = (
        select(discrepancies, broker_accounts.c.slug)
        .join(broker_accounts, broker_accounts.c.id == discrepancies.c.account_id)
        .where(discrepancies.c.state.in_(WAITING), discrepancies.c.tier == Tier.STOP)
        .order_by(discrepancies.c.found_at)
    )
    return [(row["slug"], _discrepancy(row)) for row in (await connection.execute(query)).mappings()]


async def _alert(
    connection: AsyncConnection,
    account: Account,
    difference: Difference,
    standing: Standing,
    *,
    known: Discrepancy | None,
) -> None:
    worth = "of unknown value" if difference.impact is None else f"{difference.impact:.2f} USD"
    told = f"{account.slug}: {difference.subject} differs by {difference.amount} ({worth}); {difference.told}"
    # One that grows into another tier is told anew.
    key = f"{_alert_key(standing.id)}:{standing.tier}"
    severity = "critical" if standing.tier is Tier.STOP else "warning"
    if standing.state is DiscrepancyState.CORRECTED:
        severity = "info"
    if standing.state is DiscrepancyState.KEPT_OUT:
        if known is None or known.run_count + 1 < KEPT_OUT_MAX:
            return
        key, severity = f"{_alert_key(standing.id)}:kept_out", "warning"
        told = f"{told}: kept out of {KEPT_OUT_MAX} runs, since something of it is in flight"
    await raise_alert(
        connection,
        "discrepancy",
        key=key,
        severity=severity,
        summary=told,
        account_id=account.id,
        trade_id=None,
    )


async def _clear_alerts(connection: AsyncConnection, discrepancy_id: UUID) -> None:
    """Note that none of its alerts, reminders among them, is of any use now."""
    await connection.execute(_CLEAR, {"keys": f"{_alert_key(discrepancy_id)}:%"})


def _alert_key(discrepancy_id: UUID) -> str:
    return f"discrepancy:{discrepancy_id}"


async def _record(
    connection: AsyncConnection,
    account: Account,
    discrepancy_id: UUID,
    action: str,
    actor: str,
    detail: dict[str, Any],
) -> None:
    await record(
        connection,
        action,
        actor=actor,
        subject=f"discrepancy:{discrepancy_id}",
        detail=detail,
        account_id=account.id,
    )


def _discrepancy(row: RowMapping) -> Discrepancy:
    return Discrepancy(
        id=row["id"],
        account_id=row["account_id"],
        difference=Difference(
            kind=DifferenceKind(row["kind"]),
            subject=row["subject"],
            symbol=row["symbol"],
            number=row["number"],
            ours=row["ours"],
            theirs=row["theirs"],
            impact=row["impact_usd"],
            told=row["evidence"].get("told", ""),
        ),
        state=DiscrepancyState(row["state"]),
        tier=Tier(row["tier"]),
        run_count=row["run_count"],
        found_at=row["found_at"],
        said=(row["decision"], row["decided_by"], row["reason"]),
    )
