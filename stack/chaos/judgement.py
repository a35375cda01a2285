"""Reading both sides' books when all is quiet, and what their comparison says."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from brokers.simulator.records import Deal, Order, Position
from db.verify import verify
from domain.orders import OrderState
from stack.chaos.verdicts import (
    Fault,
    Violation,
    judge_deals,
    judge_positions,
    judge_retraction,
    judge_trade,
    truth_of,
)

# Refused by us, filled at the broker; a person's word is not our verdict.
_RETRACTED = """
    SELECT t.client_order_id, e.payload ->> 'from' AS before
    FROM events e JOIN trade_ledger t ON t.id = e.trade_id
    WHERE t.account_id = :id AND e.kind LIKE 'trade.late_fill%' AND e.payload ->> 'from' IN ('rejected', 'denied')
      AND NOT EXISTS (SELECT FROM trade_commands c WHERE c.trade_id = t.id AND c.kind = 'resolve')
"""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """The broker's records, and the owner's engine for ours.

    `broken_before` are the breaches of laws that earlier runs have left in the same books.
    """

    engine: AsyncEngine
    account_id: UUID
    orders: Sequence[Order]
    deals: Sequence[Deal]
    positions: Sequence[Position]
    broken_before: AbstractSet[str]
    # The workflows of the trades that somebody was answered as accepted.
    accepted: AbstractSet[str] = frozenset()

    async def pronounce(self) -> tuple[tuple[str, ...], list[Violation]]:
        """The states of the account's trades, and every breach."""
        trades = await self._rows("SELECT * FROM trade_ledger WHERE account_id = :id ORDER BY received_at, id")
        fills = await self._rows("SELECT * FROM current_fills WHERE account_id = :id")
        shown = await self._rows("SELECT * FROM broker_positions WHERE account_id = :id")
        found = [
            violation
            for trade in trades
            for violation in judge_trade(trade, truth_of(trade["magic"], self.orders, self.deals))
        ]
        found += [
            Violation(fault=Fault.LOST, what=f"{workflow} was accepted, and the books have no trade of it")
            for workflow in sorted(self.accepted - {trade["workflow_id"] for trade in trades})
        ]
        found += [
            judge_retraction(row["client_order_id"], OrderState(row["before"]))
            for row in await self._rows(_RETRACTED)
        ]
        found += judge_deals(self.deals, fills)
        found += judge_positions(
            {position.identifier: position.lots for position in self.positions},
            {row["position_id"]: row["volume"] for row in shown},
        )
        found += await self._laws()
        return tuple(trade["state"] for trade in trades), found

    async def _laws(self) -> list[Violation]:
        async with self.engine.connect() as connection:
            results = await verify(connection)
        broken = [f"law {result.law}: {what}" for result in results for what in result.violations]
        return [Violation(fault=Fault.LAW, what=what) for what in broken if what not in self.broken_before]

    async def _rows(self, statement: str) -> list[dict[str, Any]]:
        async with self.engine.connect() as connection:
            rows = await connection.execute(text(statement), {"id": self.account_id})
            return [dict(row) for row in rows.mappings()]
