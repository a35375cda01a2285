"""Emergency stops: latched at once, in force when nothing is in flight any more, opened again by a person.

1. The latch first locks the row of `all`, which every claim holds shared: a claim comes before the latch or never.
2. A state of the control is only tightened by a stop; opening it again is `resume`, and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import RowMapping, Text, cast, func, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.journal import raise_alert, record
from db.jsons import plain
from db.tables import account_users, broker_accounts, emergency_stops
from domain.controls import ControlScope, ControlState
from domain.errors import NotStopped, StopConflict, StopNotFound, StopPlaceUnknown
from domain.stops import Stop, StopCause

_LOCK_ALL = text("SELECT 1 FROM trading_control WHERE scope = 'all' FOR UPDATE")

_TIGHTEN = text("""
    INSERT INTO trading_control AS c (scope, scope_id, state, cause, reason, set_by, set_at, stop_id)
    VALUES (:scope, :scope_id, :mode, :cause, :reason, :requested_by, clock_timestamp(), :stop_id)
    ON CONFLICT (scope, scope_id) DO UPDATE SET
        state = excluded.state, cause = excluded.cause, reason = excluded.reason, set_by = excluded.set_by,
        set_at = excluded.set_at, stop_id = excluded.stop_id
    WHERE array_position(ARRAY['active', 'reduce_only', 'halted'], c.state)
        < array_position(ARRAY['active', 'reduce_only', 'halted'], excluded.state)
""")

_IN_FLIGHT = text("""
    SELECT t.id AS trade_id, b.slug AS account, t.user_id, t.symbol, t.side, t.volume, a.number, a.claimed_at,
           a.outcome, t.state
    FROM send_attempts a
    JOIN trade_ledger t ON t.id = a.trade_id
    JOIN broker_accounts b ON b.id = t.account_id
    WHERE t.state IN ('pending', 'unresolved') AND (a.outcome IS NULL OR a.outcome = 'unresolved')
        AND t.stop_id IS NULL
    UNION ALL
    SELECT t.id, b.slug, t.user_id, t.symbol, t.side, t.volume, 0, c.sent_at, NULL, t.state
    FROM trade_commands c
    JOIN trade_ledger t ON t.id = c.trade_id
    JOIN broker_accounts b ON b.id = t.account_id
    WHERE c.sent_at IS NOT NULL AND c.outcome IS NULL
        AND t.state IN ('working', 'partially_filled', 'unresolved')
    ORDER BY claimed_at
""")

# Accepted, and not at its end by what we know: it may fill yet, though no list of the broker shows it.
_OPEN_TRADES = text("""
    SELECT t.id AS trade_id, b.slug AS account, t.user_id, t.symbol, t.side, t.volume, t.state
    FROM trade_ledger t JOIN broker_accounts b ON b.id = t.account_id
    WHERE t.closed_at IS NULL AND t.state IN ('working', 'partially_filled') AND t.stop_id IS NULL
    ORDER BY t.received_at
""")

_CLOSES = text("""
    SELECT t.id AS trade_id, b.slug AS account, b.currency, t.position_id, t.symbol, t.side, t.volume, t.state,
           t.reason, t.filled_volume, t.average_price, t.received_at, t.submitted_at, t.closed_at,
           (SELECT coalesce(sum(f.profit + f.commission + f.swap + f.fee), 0) FROM current_fills f
            WHERE f.trade_id = t.id) AS cash,
           (SELECT coalesce(jsonb_agg(d ->> 'message'), '[]') FROM jsonb_array_elements(t.denials) d) AS denials
    FROM trade_ledger t JOIN broker_accounts b ON b.id = t.account_id
    WHERE t.stop_id = :stop_id ORDER BY t.received_at, t.id
""")


_HALTING = text("""
    SELECT stop_id FROM trading_control
    WHERE state = 'halted' AND stop_id IS NOT NULL AND (scope, scope_id)
        IN (('all', ''), ('account', :account_slug), ('user', :user_id), ('symbol', :symbol))
    ORDER BY set_at DESC LIMIT 1
""")

# A stop that covers nothing, by a slip of the pen, is worse than none.
_PLACES = {
    ControlScope.ALL: text("SELECT CAST(:scope_id AS text) = ''"),
    ControlScope.ACCOUNT: text("SELECT EXISTS (SELECT FROM broker_accounts WHERE slug = :scope_id)"),
    ControlScope.USER: text("SELECT EXISTS (SELECT FROM users WHERE CAST(id AS text) = :scope_id)"),
    ControlScope.SYMBOL: text("SELECT EXISTS (SELECT FROM instruments WHERE symbol = :scope_id)"),
}


@dataclass(frozen=True, kw_only=True)
class StopProgress:
    """How far a stop has come; the certificate says the rest."""

    stop: Stop
    latched_at: datetime
    in_force_at: datetime | None
    flat_at: datetime | None
    ended_at: datetime | None
    resumed_at: datetime | None
    certificate: Mapping[str, Any]


async def latch(connection: AsyncConnection, stop: Stop) -> StopProgress:
    """Commit the stop; once per id, and whatever is being claimed at this moment is claimed before it.

    Raises StopConflict if the id is another stop's, and StopPlaceUnknown if what is to be stopped does not exist.
    """
    await connection.execute(_LOCK_ALL)
    known = await connection.scalar(_PLACES[stop.scope], {"scope_id": stop.scope_id})
    if not known:
        raise StopPlaceUnknown(stop.scope, stop.scope_id)
    asked = {
        "scope": stop.scope,
        "scope_id": stop.scope_id,
        "mode": stop.mode,
        "cause": stop.cause,
        "reason": stop.reason,
        "requested_by": stop.requested_by,
    }
    made = await connection.execute(
        insert(emergency_stops)
        .values(
            id=stop.stop_id,
            **asked,
            cancel_orders=stop.cancel_orders,
            flatten=stop.flatten,
            include_external=stop.include_external,
            resume_role=stop.resume_role,
            requested_at=stop.requested_at,
        )
        .on_conflict_do_nothing()
    )
    if made.rowcount:
        await connection.execute(_TIGHTEN, {**asked, "stop_id": stop.stop_id})
        await _note(connection, stop, "stop.latched", actor=stop.requested_by, detail=plain(vars(stop)))
        await raise_alert(
            connection,
            "stop",
            key=f"stop:{stop.stop_id}",
            severity="critical",
            summary=f"trading is {stop}",
            account_id=None,
            trade_id=None,
        )
    progress = await read_stop(connection, stop.stop_id)
    first = progress.stop
    if _asked(first) != _asked(stop):
        raise StopConflict(stop.stop_id)
    return progress


def _asked(stop: Stop) -> tuple[object, ...]:
    return (
        *(stop.scope, stop.scope_id, stop.mode),
        *(stop.cancel_orders, stop.flatten, stop.include_external),
    )


async def read_stop(connection: AsyncConnection, stop_id: UUID) -> StopProgress:
    query = select(emergency_stops).where(emergency_stops.c.id == stop_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        raise StopNotFound(stop_id)
    return _progress(row)


async def list_stops(connection: AsyncConnection, *, limit: int) -> tuple[StopProgress, ...]:
    query = select(emergency_stops).order_by(emergency_stops.c.latched_at.desc()).limit(limit)
    return tuple(_progress(row) for row in (await connection.execute(query)).mappings())


async def unfinished(connection: AsyncConnection) -> tuple[StopProgress, ...]:
    """The stops whose work is not done, oldest first."""
    query = (
        select(emergency_stops).where(emergency_stops.c.ended_at.is_(None)).order_by(emergency_stops.c.latched_at)
    )
    return tuple(_progress(row) for row in (await connection.execute(query)).mappings())


async def accounts_of(connection: AsyncConnection, stop: Stop) -> tuple[str, ...]:
    """The accounts on which the stop may have something to do."""
    slugs = select(broker_accounts.c.slug).order_by(broker_accounts.c.slug)
    if stop.scope is ControlScope.ACCOUNT:
        slugs = slugs.where(broker_accounts.c.slug == stop.scope_id)
    if stop.scope is ControlScope.USER:
        slugs = slugs.where(
            broker_accounts.c.id.in_(
                select(account_users.c.account_id).where(cast(account_users.c.user_id, Text) == stop.scope_id)
            )
        )
    return tuple((await connection.scalars(slugs)).all())


async def halting_stop(
    connection: AsyncConnection, account_slug: str, *, user_id: UUID, symbol: str
) -> UUID | None:
    """The newest stop that halts this user in this symbol; a close that carries its id still goes."""
    place = {"account_slug": account_slug, "user_id": str(user_id), "symbol": symbol}
    stop_id: UUID | None = await connection.scalar(_HALTING, place)
    return stop_id


async def in_flight(connection: AsyncConnection, stop: Stop) -> list[dict[str, Any]]:
    """The sends that the stop covers and whose outcome is not known: claimed and unanswered, or unresolved."""
    rows = (await connection.execute(_IN_FLIGHT)).mappings()
    return [
        plain(dict(row))
        for row in rows
        if stop.covers(account_slug=row["account"], user_id=row["user_id"], symbol=row["symbol"])
    ]


async def open_trades(connection: AsyncConnection, stop: Stop) -> list[dict[str, Any]]:
    """The trades that the stop covers and whose orders may still fill, as far as the books know."""
    rows = (await connection.execute(_OPEN_TRADES)).mappings()
    return [
        plain(dict(row))
        for row in rows
        if stop.covers(account_slug=row["account"], user_id=row["user_id"], symbol=row["symbol"])
    ]


async def closes_of(connection: AsyncConnection, stop_id: UUID) -> list[dict[str, Any]]:
    """The closes that the stop has made, with what became of each and the money that it brought."""
    return [plain(dict(row)) for row in (await connection.execute(_CLOSES, {"stop_id": stop_id})).mappings()]


async def reach(
    connection: AsyncConnection, stop: Stop, *instants: str, certificate: dict[str, Any]
) -> StopProgress:
    """Note that the stop reached `instants` (column names) now, with what its certificate says by then."""
    columns = emergency_stops.c
    stamps = {name: func.coalesce(columns[name], func.clock_timestamp()) for name in instants}
    changed = await connection.execute(
        update(emergency_stops)
        .where(columns.id == stop.stop_id)
        .values(
            certificate=columns.certificate.op("||")(cast(plain(certificate), JSONB)),
            **stamps,
        )
        .returning(*columns)
    )
    progress = _progress(changed.mappings().one())
    for name in instants:
        action = f"stop.{name.removesuffix('_at')}"
        await _note(connection, stop, action, actor="pipeline", detail={"certificate": certificate})
    return progress


async def stopped(connection: AsyncConnection, scope: ControlScope, scope_id: str) -> tuple[StopProgress, ...]:
    """The stops that hold trading there, locked against another resume. Raises NotStopped."""
    await connection.execute(_LOCK_ALL)
    held = await connection.scalar(
        text(
            "SELECT state FROM trading_control"
            " WHERE scope = :scope AND scope_id = :scope_id AND state <> 'active' FOR UPDATE"
        ),
        {"scope": scope, "scope_id": scope_id},
    )
    if held is None:
        raise NotStopped(scope, scope_id)
    query = select(emergency_stops).where(
        emergency_stops.c.scope == scope,
        emergency_stops.c.scope_id == scope_id,
        emergency_stops.c.resumed_at.is_(None),
    )
    return tuple(_progress(row) for row in (await connection.execute(query)).mappings())


async def resume(
    connection: AsyncConnection,
    scope: ControlScope,
    scope_id: str,
    *,
    actor: str,
    reason: str,
    approved_by: str | None = None,
) -> None:
    """Open trading again; who may, and whether the cause is over, the caller has asked."""
    place = {"scope": scope, "scope_id": scope_id}
    await connection.execute(
        text("""
            UPDATE trading_control SET state = 'active', cause = 'resumed', reason = :reason, set_by = :actor,
                set_at = clock_timestamp(), stop_id = NULL
            WHERE scope = :scope AND scope_id = :scope_id
        """),
        {**place, "reason": reason, "actor": actor},
    )
    await connection.execute(
        text("""
            UPDATE emergency_stops
            SET resumed_at = clock_timestamp(), ended_at = coalesce(ended_at, clock_timestamp())
            WHERE scope = :scope AND scope_id = :scope_id AND resumed_at IS NULL
        """),
        place,
    )
    subject = f"control:{scope}:{scope_id}"
    detail = {**place, "reason": reason, "approved_by": approved_by}
    await record(connection, "stop.resumed", actor=actor, subject=subject, detail=detail)


async def _note(
    connection: AsyncConnection, stop: Stop, action: str, *, actor: str, detail: dict[str, Any]
) -> None:
    await record(connection, action, actor=actor, subject=f"stop:{stop.stop_id}", detail=detail)


def _progress(row: RowMapping) -> StopProgress:
    return StopProgress(
        stop=Stop(
            stop_id=row["id"],
            scope=ControlScope(row["scope"]),
            scope_id=row["scope_id"],
            mode=ControlState(row["mode"]),
            cancel_orders=row["cancel_orders"],
            flatten=row["flatten"],
            include_external=row["include_external"],
            cause=StopCause(row["cause"]),
            reason=row["reason"],
            requested_by=row["requested_by"],
            resume_role=row["resume_role"],
            requested_at=row["requested_at"],
        ),
        latched_at=row["latched_at"],
        in_force_at=row["in_force_at"],
        flat_at=row["flat_at"],
        ended_at=row["ended_at"],
        resumed_at=row["resumed_at"],
        certificate=row["certificate"],
    )
