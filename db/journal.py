"""The record of each change: one audit row and one event for the stream, in the transaction of the change."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any
from uuid import UUID

from sqlalchemy import CTE, Select, bindparam, cast, insert, select, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import UUID as UUID_TYPE
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import Text

from db.jsons import dumps
from db.tables import audit_log, events
from domain.origins import Origin, origin

_ORIGIN = tuple(field.name for field in fields(Origin))

_RECORD = text("""
    WITH audited AS (
        INSERT INTO audit_log (actor, action, subject, detail, address, request_id, trace_id, key_id)
        VALUES (:actor, :action, :subject, CAST(:detail AS jsonb), :address, :request_id, :trace_id, :key_id)
    )
    INSERT INTO events (kind, account_id, user_id, trade_id, payload)
    VALUES (:action, :account_id, :user_id, :trade_id, CAST(:detail AS jsonb))
""")

_ALERT = text("""
    INSERT INTO alerts (key, severity, kind, account_id, trade_id, summary)
    VALUES (:key, :severity, :kind, :account_id, :trade_id, :summary)
    ON CONFLICT (key) DO NOTHING
""")

_CLEAR = text("""
    UPDATE alerts SET cleared_at = clock_timestamp()
    WHERE key = ANY(CAST(:keys AS text[])) AND cleared_at IS NULL
""")


async def record(
    connection: AsyncConnection,
    action: str,
    *,
    actor: str,
    subject: str,
    detail: dict[str, Any],
    account_id: UUID | None = None,
    user_id: UUID | None = None,
    trade_id: UUID | None = None,
) -> None:
    await connection.execute(
        _RECORD,
        {
            "actor": actor,
            "action": action,
            "subject": subject,
            "detail": dumps(detail),
            "account_id": account_id,
            "user_id": user_id,
            "trade_id": trade_id,
            **asdict(origin.get()),
        },
    )


def recorded(change: CTE) -> Select[Any]:
    """The rows of a change to a trade, which the same statement records; `entry` fills its parameters.

    A change that touches no row records nothing.
    """
    action = bindparam("journal_action", type_=Text)
    detail = cast(bindparam("journal_detail", type_=Text), JSONB)
    audit = {
        "actor": bindparam("journal_actor", type_=Text),
        "action": action,
        "subject": bindparam("journal_subject", type_=Text),
        "detail": detail,
        **{name: bindparam(f"journal_{name}", type_=Text) for name in _ORIGIN},
    }
    event = {
        "kind": action,
        **{name: bindparam(f"journal_{name}", type_=UUID_TYPE) for name in ("account_id", "user_id", "trade_id")},
        "payload": detail,
    }
    return select(change).add_cte(
        insert(audit_log).from_select(list(audit), select(*audit.values()).select_from(change)).cte("audited"),
        insert(events).from_select(list(event), select(*event.values()).select_from(change)).cte("told"),
    )


def entry(
    action: str, *, actor: str, detail: dict[str, Any], account_id: UUID, user_id: UUID, trade_id: UUID
) -> dict[str, Any]:
    """The parameters of a `recorded` statement that say what happened to the trade, and by whom."""
    return {
        "journal_actor": actor,
        "journal_action": action,
        "journal_subject": f"trade:{trade_id}",
        "journal_detail": dumps(detail),
        "journal_account_id": account_id,
        "journal_user_id": user_id,
        "journal_trade_id": trade_id,
        **{f"journal_{name}": value for name, value in asdict(origin.get()).items()},
    }


async def raise_alert(
    connection: AsyncConnection,
    kind: str,
    *,
    key: str,
    severity: str,
    summary: str,
    account_id: UUID | None,
    trade_id: UUID | None,
) -> None:
    """Raise an alert once per `key`, however often its cause is met."""
    await connection.execute(
        _ALERT,
        {
            "key": key,
            "severity": severity,
            "kind": kind,
            "account_id": account_id,
            "trade_id": trade_id,
            "summary": summary,
        },
    )


async def clear_alerts(connection: AsyncConnection, keys: Sequence[str]) -> None:
    """Note that the cause of these alerts has ended; what they said stays."""
    await connection.execute(_CLEAR, {"keys": list(keys)})
