"""Everything that is asked of the books before a trade starts, in one statement."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from db.instruments import instrument_from_json
from db.jsons import loads
from db.sessions import Credential
from db.users import Role
from domain.instruments import Instrument
from domain.money import Lots
from domain.orders import OrderState, Side
from domain.positions import MarginMode

# A close without an account takes the one that holds the position. A position belongs to the user whose order
# opened it, and the broker numbers it by that order; one that no order of ours opened is anybody's of the account.
_INTAKE = text("""
    SELECT u.role, u.enabled,
           lets_in(u.id, CAST(:session_id AS uuid), CAST(:token_hash AS text), CAST(:key_id AS uuid)) AS let_in,
           t.body_hash, t.state, t.workflow_id, ta.slug AS trade_account,
           a.id AS account_id, a.slug AS account_slug, a.margin_mode, coalesce(a.candidates, 0) AS candidates,
           row_to_json(i)::text AS instrument, h.positions::text AS positions, s.stop_id
    FROM users u
    LEFT JOIN trade_ledger t ON t.id = :trade_id
    LEFT JOIN broker_accounts ta ON ta.id = t.account_id
    LEFT JOIN LATERAL (
        SELECT b.id, b.slug, b.margin_mode, count(*) OVER () AS candidates
        FROM account_users au JOIN broker_accounts b ON b.id = au.account_id
        WHERE au.user_id = u.id
          AND (CAST(:account AS text) IS NULL OR b.slug = :account)
          AND (CAST(:symbol AS text) IS NOT NULL OR EXISTS (
                  SELECT FROM broker_positions h WHERE h.account_id = b.id AND h.position_id = :position_id))
        ORDER BY b.slug LIMIT 1
    ) a ON true
    LEFT JOIN LATERAL (
        SELECT json_agg(p) AS positions, max(p.symbol) FILTER (WHERE p.position_id = :position_id) AS symbol
        FROM (
            SELECT DISTINCT ON (h.position_id) h.position_id, h.symbol, h.side, h.volume,
                   o.user_id IS NOT NULL AS opened_by_user
            FROM broker_positions h
            LEFT JOIN trade_ledger o ON o.account_id = h.account_id
                AND (o.broker_order_id = h.position_id OR (o.broker_order_id IS NULL AND o.magic = h.magic))
            WHERE h.account_id = a.id AND h.position_id IN (:position_id, :by_position_id)
              AND coalesce(o.user_id, u.id) = u.id
        ) p
    ) h ON true
    LEFT JOIN instruments i ON i.account_id = a.id AND i.symbol = coalesce(CAST(:symbol AS text), h.symbol)
    LEFT JOIN LATERAL (
        SELECT c.stop_id FROM trading_control c
        WHERE h.symbol IS NOT NULL AND c.state = 'halted' AND c.stop_id IS NOT NULL
          AND (c.scope, c.scope_id)
              IN (('all', ''), ('account', a.slug), ('user', CAST(u.id AS text)), ('symbol', h.symbol))
        ORDER BY c.set_at DESC LIMIT 1
    ) s ON true
    WHERE u.id = :user_id
""")


@dataclass(frozen=True, kw_only=True)
class IntakeQuestion:
    """`symbol` is None for a close, which takes that of its position; `by_position_id` is the one it closes by."""

    user_id: UUID
    credential: Credential
    trade_id: UUID
    account: str | None
    symbol: str | None
    position_id: int | None
    by_position_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class KnownTrade:
    """The trade that was first under this client order id."""

    body_hash: str
    state: OrderState
    workflow_id: str
    account_slug: str


@dataclass(frozen=True, kw_only=True)
class Account:
    id: UUID
    slug: str
    margin_mode: MarginMode


@dataclass(frozen=True, kw_only=True)
class OpenPosition:
    """An open position that this user may close; `opened_by_user` says whether an order of theirs opened it."""

    symbol: str
    side: Side
    volume: Lots
    opened_by_user: bool


@dataclass(frozen=True, kw_only=True)
class Intake:
    """`account` is None unless exactly one fits; `account_count` says how many do.

    `let_in` is false once the user is disabled, or the session or key over. `stop_id` is the stop that halts
    trading in the position.
    """

    role: Role
    let_in: bool
    known: KnownTrade | None
    account: Account | None
    account_count: int
    instrument: Instrument | None
    position: OpenPosition | None
    by_position: OpenPosition | None
    stop_id: UUID | None = None


async def read_intake(connection: AsyncConnection, question: IntakeQuestion) -> Intake | None:
    """None if there is no such user."""
    answer = await connection.execute(
        _INTAKE,
        {
            "user_id": question.user_id,
            "session_id": question.credential.session_id,
            "token_hash": question.credential.token_hash,
            "key_id": question.credential.key_id,
            "trade_id": question.trade_id,
            "account": question.account,
            "symbol": question.symbol,
            "position_id": question.position_id,
            "by_position_id": question.by_position_id,
        },
    )
    row = answer.mappings().one_or_none()
    return None if row is None else _intake(row, question)


def _intake(row: RowMapping, question: IntakeQuestion) -> Intake:
    positions = _positions(row["positions"])
    return Intake(
        role=Role(row["role"]),
        let_in=row["enabled"] and row["let_in"],
        known=None if row["body_hash"] is None else _known(row),
        account=_account(row) if row["candidates"] == 1 else None,
        account_count=row["candidates"],
        instrument=None if row["instrument"] is None else instrument_from_json(loads(row["instrument"])),
        position=positions.get(question.position_id),
        by_position=positions.get(question.by_position_id),
        stop_id=row["stop_id"],
    )


def _known(row: RowMapping) -> KnownTrade:
    return KnownTrade(
        body_hash=row["body_hash"],
        state=OrderState(row["state"]),
        workflow_id=row["workflow_id"],
        account_slug=row["trade_account"],
    )


def _account(row: RowMapping) -> Account:
    return Account(id=row["account_id"], slug=row["account_slug"], margin_mode=MarginMode(row["margin_mode"]))


def _positions(found: str | None) -> dict[int | None, OpenPosition]:
    return {
        row["position_id"]: OpenPosition(
            symbol=row["symbol"],
            side=Side(row["side"]),
            volume=Lots(Decimal(row["volume"])),
            opened_by_user=row["opened_by_user"],
        )
        for row in ([] if found is None else loads(found))
    }
