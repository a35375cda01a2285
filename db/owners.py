"""Whose orders and positions those at the broker are."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.positions import MarginMode

# A position belongs to the user whose order opened it, and the broker numbers it by that order.
_OWNERS = text("""
    SELECT t.magic, t.broker_order_id, t.user_id FROM trade_ledger t
    WHERE t.account_id = :account_id
        AND (t.closed_at IS NULL
            OR t.broker_order_id IN (SELECT position_id FROM broker_positions WHERE account_id = :account_id)
            OR t.closed_at > now() - interval '1 hour')
""")
_OPENERS = text("""
    SELECT f.position_id, t.user_id
    FROM fills f
    JOIN fill_allocations a ON a.fill_id = f.id AND a.role = 'open'
    JOIN trade_ledger t ON t.id = a.trade_id
    WHERE f.account_id = :account_id AND f.position_id IN (
        SELECT position_id FROM broker_positions WHERE account_id = :account_id)
    GROUP BY f.position_id, t.user_id, f.executed_at
    ORDER BY f.executed_at DESC
""")
_ANYBODY = text("""
    SELECT a.margin_mode, (
        SELECT au.user_id FROM account_users au JOIN users u ON u.id = au.user_id
        WHERE au.account_id = a.id ORDER BY u.enabled DESC, u.username LIMIT 1) AS user_id
    FROM broker_accounts a WHERE a.id = :account_id
""")


@dataclass(frozen=True, kw_only=True)
class Owners:
    """`anybody` is a user of the account who may close what nobody of ours opened; None if it has none."""

    by_magic: dict[int, UUID]
    by_position: dict[int, UUID]
    anybody: UUID | None
    margin_mode: MarginMode

    def of_magic(self, magic: int) -> UUID | None:
        return self.by_magic.get(magic)

    def of_position(self, position_id: int, magic: int) -> UUID | None:
        """On a netting account the magic is that of the newest order, whoever opened the position."""
        owner = self.by_position.get(position_id)
        return owner or (self.by_magic.get(magic) if self.margin_mode is MarginMode.HEDGING else None)


async def read_owners(connection: AsyncConnection, account_id: UUID) -> Owners:
    """The owners of what is open, of what was just sent, and of what ended lately."""
    place = {"account_id": account_id}
    trades = (await connection.execute(_OWNERS, place)).mappings().all()
    openers = (await connection.execute(_OPENERS, place)).mappings().all()
    account = (await connection.execute(_ANYBODY, place)).mappings().one()
    return Owners(
        by_magic={row["magic"]: row["user_id"] for row in trades},
        by_position={
            **{row["position_id"]: row["user_id"] for row in openers},
            **{row["broker_order_id"]: row["user_id"] for row in trades if row["broker_order_id"]},
        },
        anybody=account["user_id"],
        margin_mode=MarginMode(account["margin_mode"]),
    )
