"""The record of each change: one audit row and one event for the stream, in the transaction of the change."""

from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.jsons import dumps

_RECORD = text("""
    WITH audited AS (
        INSERT INTO audit_log (actor, action, subject, detail)
        VALUES (:actor, :action, :subject, CAST(:detail AS jsonb))
    )
    INSERT INTO events (kind, account_id, user_id, trade_id, payload)
    VALUES (:action, :account_id, :user_id, :trade_id, CAST(:detail AS jsonb))
""")

_ALERT = text("""
    INSERT INTO alerts (key, severity, kind, account_id, trade_id, summary)
    VALUES (:key, :severity, :kind, :account_id, :trade_id, :summary)
    ON CONFLICT (key) DO NOTHING
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
        },
    )


async def raise_alert(
    connection: AsyncConnection,
    kind: str,
    *,
    key: str,
    severity: str,
    summary: str,
    account_id: UUID,
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
