"""Runs of the reconciliation: each one row with what it read, explained and found, written when it ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, insert, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.accounts import Account
from db.journal import raise_alert
from db.jsons import plain
from db.tables import reconciliation_log
from domain.reconciliation import Cause, RunCause, Verdict

# How many of the broker's records prove a cause in the run's own row; the fill book has them all.
EVIDENCE_MAX = 20
# So many runs in a row may come to nothing before people are told.
IN_VAIN_MAX = 5

_LAST = text("""
    SELECT * FROM reconciliation_log WHERE account_id = :account_id AND verdict <> 'inconclusive'
    ORDER BY ended_at DESC LIMIT 1
""")
_KNOWN = text("SELECT verdict FROM reconciliation_log WHERE id = :id")

_AWAIT = text("UPDATE broker_accounts SET unreconciled_since = :now WHERE id = :account_id")
_RECONCILED = text("""
    UPDATE broker_accounts SET unreconciled_since = NULL
    WHERE id = :account_id AND unreconciled_since <= :read_at
""")

# Those that came to nothing since the last one that did not.
_IN_VAIN = text("""
    SELECT count(*) AS count, (array_agg(id ORDER BY ended_at))[1] AS first_id
    FROM reconciliation_log WHERE account_id = :account_id AND ended_at > coalesce((
        SELECT max(ended_at) FROM reconciliation_log
        WHERE account_id = :account_id AND verdict <> 'inconclusive'), '-infinity')
""")
_SPOKEN = text("UPDATE alerts SET cleared_at = clock_timestamp() WHERE key LIKE :keys AND cleared_at IS NULL")

# Every record that came into the books since the last run, by what it proves. One that was executed before the
# last reading came late; one of ours that the run itself had to bring was missed.
_EXPLAINED = text("""
    SELECT e.cause, count(*) AS count, sum(e.amount) AS amount,
           (array_agg(e.ticket ORDER BY e.ticket))[1:CAST(:evidence_max AS integer)] AS tickets
    FROM (
        SELECT f.ticket, f.executed_at, x.cause, x.amount
        FROM fills f
        CROSS JOIN LATERAL (VALUES
            (CASE
                WHEN f.kind IN ('correction', 'cancelled') OR f.revision > 1 THEN 'correction'
                WHEN f.kind = 'balance' AND f.profit < 0 THEN 'withdrawal'
                WHEN f.kind = 'balance' THEN 'deposit'
                WHEN f.kind = 'credit' THEN 'credit'
                WHEN f.kind = 'commission' THEN 'commission'
                WHEN f.kind IN ('charge', 'tax') THEN 'fee'
                WHEN f.kind <> 'trade' THEN 'other_money'
                WHEN f.reason = 'stop_loss' THEN 'stop_loss_exit'
                WHEN f.reason = 'take_profit' THEN 'take_profit_exit'
                WHEN f.reason = 'stop_out' THEN 'stop_out_exit'
                WHEN f.reason = 'rollover' THEN 'rollover'
                WHEN f.trade_id IS NULL THEN 'manual_trade'
                WHEN f.ticket = ANY(CAST(:found AS bigint[])) THEN 'missed_fill' END, f.profit),
            (CASE WHEN f.kind = 'trade' AND f.commission <> 0 THEN 'commission' END, f.commission),
            (CASE WHEN f.kind = 'trade' AND f.swap <> 0 THEN 'swap' END, f.swap),
            (CASE WHEN f.kind = 'trade' AND f.fee <> 0 THEN 'fee' END, f.fee),
            (CASE WHEN f.executed_at < CAST(:last_read_at AS timestamptz) AND f.revision = 1
                THEN 'late_deal' END, 0)
        ) AS x (cause, amount)
        WHERE f.account_id = :account_id AND f.id > :after AND f.id <= :watermark AND f.source <> 'attribution'
    ) e WHERE e.cause IS NOT NULL
    GROUP BY e.cause ORDER BY e.cause
""")


@dataclass(frozen=True, kw_only=True)
class Explained:
    """What a cause moved since the last run: records, money in the account's currency, and the first tickets."""

    cause: Cause
    count: int
    amount: Decimal
    tickets: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run as it is written down; `watermark` is the newest record of the books that it compared."""

    id: UUID
    account_id: UUID
    cause: RunCause
    verdict: Verdict
    reason: str | None
    began_at: datetime
    read_at: datetime | None
    watermark: int
    counts: Mapping[str, int]
    totals: Mapping[str, Decimal]
    explained: Sequence[Explained]
    report: Mapping[str, Any] | None


async def last_run(connection: AsyncConnection, account_id: UUID) -> RowMapping | None:
    """The newest run that came to a verdict."""
    return (await connection.execute(_LAST, {"account_id": account_id})).mappings().one_or_none()


async def await_run(connection: AsyncConnection, account_id: UUID, *, now: datetime) -> None:
    """Let nothing be opened on the account until a run has read it after this."""
    await connection.execute(_AWAIT, {"account_id": account_id, "now": now})


async def note_reconciled(connection: AsyncConnection, account: Account, *, read_at: datetime) -> None:
    """Let the account trade: a run has read it at this instant."""
    await connection.execute(_RECONCILED, {"account_id": account.id, "read_at": read_at})
    await connection.execute(_SPOKEN, {"keys": f"{_silence_key(account)}%"})


def _silence_key(account: Account) -> str:
    return f"reconciliation_inconclusive:{account.slug}:"


async def tell_of_silence(connection: AsyncConnection, account: Account, *, reason: str | None) -> None:
    """Alert people once so many runs in a row came to nothing; to be called behind the newest of them."""
    row = (await connection.execute(_IN_VAIN, {"account_id": account.id})).mappings().one()
    if row["count"] >= IN_VAIN_MAX:
        await raise_alert(
            connection,
            "reconciliation_inconclusive",
            key=f"{_silence_key(account)}{row['first_id']}",
            severity="critical",
            summary=f"{account.slug}: {row['count']} reconciliations in a row came to nothing: {reason}",
            account_id=account.id,
            trade_id=None,
        )


async def verdict_of(connection: AsyncConnection, run_id: UUID) -> Verdict | None:
    """How a run ended that was concluded before."""
    found = await connection.scalar(_KNOWN, {"id": run_id})
    return None if found is None else Verdict(found)


async def explain(
    connection: AsyncConnection,
    account_id: UUID,
    *,
    after: int,
    watermark: int,
    last_read_at: datetime | None,
    found: Sequence[int],
) -> tuple[Explained, ...]:
    """What the records prove that were booked behind `after`, up to the watermark."""
    asked = {
        "account_id": account_id,
        "after": after,
        "watermark": watermark,
        "last_read_at": last_read_at,
        "found": list(found),
        "evidence_max": EVIDENCE_MAX,
    }
    return tuple(
        Explained(
            cause=Cause(row["cause"]), count=row["count"], amount=row["amount"], tickets=tuple(row["tickets"])
        )
        for row in (await connection.execute(_EXPLAINED, asked)).mappings()
    )


async def write(connection: AsyncConnection, run: Run) -> None:
    values = {**vars(run), "counts": plain(dict(run.counts)), "totals": plain(dict(run.totals))}
    values["explained"] = plain(list(run.explained))
    values["report"] = None if run.report is None else plain(dict(run.report))
    await connection.execute(insert(reconciliation_log).values(values))
