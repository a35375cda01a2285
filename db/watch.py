"""What the watch found, in the books: alerts once a finding, conditions while they last, contracts until accepted.

Each change is recorded in the transaction that makes it; callers hold the account's booking queue.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, bindparam, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from db import snapshots
from db.accounts import Account
from db.instruments import instrument_from_json
from db.journal import clear_alerts, raise_alert, record
from db.jsons import loads
from db.tables import account_conditions, broker_accounts, contract_changes
from domain.errors import ContractsUnchanged
from domain.instruments import Instrument
from domain.watch import LISTED, Blocks, Finding, Pending, instrument_findings

_CARDS = text("""
    SELECT coalesce(json_agg(i), '[]')::text FROM instruments i WHERE i.account_id = :account_id
""")
_PENDING = select(contract_changes).where(contract_changes.c.account_id == bindparam("account_id"))
_LISTING = text("""
    UPDATE instruments SET listed = NOT (symbol = ANY(CAST(:vanished AS text[])))
    WHERE account_id = :account_id AND listed = (symbol = ANY(CAST(:vanished AS text[])))
""")
_KINDS = select(account_conditions.c.kind).where(account_conditions.c.account_id == bindparam("account_id"))


async def see_conditions(
    connection: AsyncConnection, account: Account, found: Sequence[Finding], *, read_at: datetime, actor: str
) -> None:
    """Store that these conditions hold, and that all others have ended: for a reading that would show them."""
    known = await begin_conditions(connection, account, found, read_at=read_at, actor=actor)
    ended = known - {finding.kind for finding in found}
    if ended:
        gone = await connection.execute(
            delete(account_conditions)
            .where(account_conditions.c.account_id == account.id, account_conditions.c.kind.in_(ended))
            .returning(account_conditions)
        )
        for row in gone.mappings().all():
            await clear_alerts(connection, [row["alert_key"]])
            detail = {"kind": row["kind"], "began_at": row["began_at"]}
            await _record(connection, "condition.ended", account, actor=actor, detail=detail)


async def begin_conditions(
    connection: AsyncConnection, account: Account, found: Sequence[Finding], *, read_at: datetime, actor: str
) -> set[str]:
    """Store that these conditions hold, whatever else does; the kinds that were known before."""
    known = set(await connection.scalars(_KINDS, {"account_id": account.id}))
    for finding in found:
        if finding.kind in known:
            continue
        key = await _alert(connection, account, finding, read_at=read_at)
        await connection.execute(
            insert(account_conditions).values(
                account_id=account.id, kind=finding.kind, message=finding.message, alert_key=key
            )
        )
        detail = {"kind": finding.kind, "message": finding.message}
        await _record(connection, "condition.began", account, actor=actor, detail=detail)
    return known


async def tell(
    connection: AsyncConnection, account: Account, found: Sequence[Finding], *, read_at: datetime, actor: str
) -> None:
    """Raise and record findings that are met once and block nothing."""
    for finding in found:
        await _alert(connection, account, finding, read_at=read_at)
        detail = {"symbol": finding.subject, "term": finding.term, "was": finding.was, "shown": finding.shown}
        await _record(connection, str(finding.kind), account, actor=actor, detail=detail)


async def see_instruments(
    connection: AsyncConnection, account: Account, cards: Sequence[Instrument], *, read_at: datetime, actor: str
) -> None:
    """Store what the broker lists now; what differs from before is told, and waits for a person if it blocks."""
    rows = loads(await connection.scalar(_CARDS, {"account_id": account.id}))
    known = {row["symbol"]: instrument_from_json(row) for row in rows}
    listed = {row["symbol"] for row in rows if row["listed"]}
    allowed = {row["symbol"] for row in rows if row["allowed"]}
    pending = await _pending(connection, account.id)
    found = instrument_findings(known, {card.symbol: card for card in cards}, pending=pending)
    await snapshots.write_instruments(connection, account.id, cards)
    vanished = [finding.subject for finding in found if finding.term == LISTED]
    await connection.execute(_LISTING, {"account_id": account.id, "vanished": vanished})
    # A symbol that is gone already, accepted or not, is no news; nor is one that nobody may trade here.
    news = [
        finding
        for finding in found
        if finding.subject in allowed and (finding.term != LISTED or finding.subject in listed)
    ]
    waiting = [finding for finding in news if finding.blocks is Blocks.OPENING]
    await tell(connection, account, [f for f in news if f.blocks is Blocks.NOTHING], read_at=read_at, actor=actor)
    for finding in waiting:
        await _await_acceptance(connection, account, finding, pending, read_at=read_at, actor=actor)
    # What was noticed of a symbol before it vanished waits on: it may come back as it went.
    holding = {(change.symbol, change.term) for change in pending if change.symbol in vanished}
    holding |= {(finding.subject, finding.term) for finding in found if finding.blocks is Blocks.OPENING}
    for change in pending:
        if (change.symbol, change.term) not in holding:
            await _withdraw(connection, account, change, actor=actor)


async def pending_contracts(connection: AsyncConnection, symbol: str | None = None) -> list[dict[str, Any]]:
    """The changes that nobody has accepted yet, of all accounts, oldest first."""
    query = (
        select(broker_accounts.c.slug.label("account"), contract_changes)
        .join(broker_accounts, broker_accounts.c.id == contract_changes.c.account_id)
        .order_by(contract_changes.c.noticed_at, broker_accounts.c.slug, contract_changes.c.symbol)
        .order_by(contract_changes.c.term)
    )
    if symbol is not None:
        query = query.where(contract_changes.c.symbol == symbol)
    return [dict(row) for row in (await connection.execute(query)).mappings()]


async def accept_contract(
    connection: AsyncConnection, account: Account, symbol: str, *, actor: str, reason: str
) -> tuple[Pending, ...]:
    """Let orders open in the symbol again, as it is now. Raises ContractsUnchanged if nothing waits."""
    rows = await connection.execute(
        delete(contract_changes)
        .where(contract_changes.c.account_id == account.id, contract_changes.c.symbol == symbol)
        .returning(contract_changes)
    )
    accepted = sorted(rows.mappings().all(), key=lambda row: str(row["term"]))
    if not accepted:
        raise ContractsUnchanged(account.slug, symbol)
    await clear_alerts(connection, [row["alert_key"] for row in accepted])
    changes = tuple(change_of(row) for row in accepted)
    detail = {"symbol": symbol, "reason": reason, "changes": changes}
    await _record(connection, "contract.accepted", account, actor=actor, detail=detail)
    return changes


def change_of(row: Mapping[str, Any] | RowMapping) -> Pending:
    return Pending(symbol=row["symbol"], term=row["term"], was=row["was"], shown=row["shown"])


async def _await_acceptance(
    connection: AsyncConnection,
    account: Account,
    finding: Finding,
    pending: Sequence[Pending],
    *,
    read_at: datetime,
    actor: str,
) -> None:
    change = Pending(symbol=finding.subject, term=finding.term, was=finding.was, shown=finding.shown)
    if change in pending:
        return
    key = await _alert(connection, account, finding, read_at=read_at)
    values = {**vars(change), "account_id": account.id, "alert_key": key}
    await connection.execute(
        insert(contract_changes)
        .values(values)
        .on_conflict_do_update(
            index_elements=["account_id", "symbol", "term"],
            set_={"shown": finding.shown, "alert_key": key, "noticed_at": func.now()},
        )
    )
    await _record(connection, str(finding.kind), account, actor=actor, detail=vars(change))


async def _withdraw(connection: AsyncConnection, account: Account, change: Pending, *, actor: str) -> None:
    gone = await connection.execute(
        delete(contract_changes)
        .where(
            contract_changes.c.account_id == account.id,
            contract_changes.c.symbol == change.symbol,
            contract_changes.c.term == change.term,
        )
        .returning(contract_changes.c.alert_key)
    )
    await clear_alerts(connection, list(gone.scalars()))
    await _record(connection, "contract.restored", account, actor=actor, detail=vars(change))


async def _pending(connection: AsyncConnection, account_id: UUID) -> list[Pending]:
    rows = (await connection.execute(_PENDING, {"account_id": account_id})).mappings()
    return [change_of(row) for row in rows]


async def _alert(connection: AsyncConnection, account: Account, finding: Finding, *, read_at: datetime) -> str:
    """The key under which the alert was raised; the instant tells two times of the same finding apart."""
    what = ":".join(filter(None, (finding.subject, finding.term)))
    key = ":".join(filter(None, (finding.kind, account.slug, what, read_at.isoformat())))
    await raise_alert(
        connection,
        finding.kind,
        key=key,
        severity=finding.severity,
        summary=f"account {account.slug}: {finding.message}",
        account_id=account.id,
        trade_id=None,
    )
    return key


async def _record(
    connection: AsyncConnection, action: str, account: Account, *, actor: str, detail: dict[str, Any]
) -> None:
    await record(
        connection,
        action,
        actor=actor,
        subject=f"account:{account.slug}",
        detail=detail,
        account_id=account.id,
    )
