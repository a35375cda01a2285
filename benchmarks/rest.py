"""The product itself: an order over HTTP, until it is answered as filled, booked and settled."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from benchmarks.embedded import Embedded
from benchmarks.waiting import until
from benchmarks.ways import BenchFailed, MarketOrder
from stack.demo_account import ACCOUNT
from stack.rest import find_caller


class Rest:
    """One caller that keeps its connection and waits for each answer before the next order."""

    name = "REST"

    def __init__(self, api: httpx.AsyncClient, engine: AsyncEngine) -> None:
        self._api = api
        self._engine = engine

    async def place(self, order: MarketOrder) -> int:
        body = {
            "client_order_id": order.client_order_id,
            "symbol": order.symbol,
            "side": order.side,
            "type": "market",
            "volume": str(order.volume),
            "position_id": order.position_id,
        }
        answer = await self._api.post("/api/trading/execute", json=body)
        trade = answer.json()
        if answer.status_code != httpx.codes.CREATED or trade["state"] != "filled" or trade["closed_at"] is None:
            raise BenchFailed(f"{answer.status_code} {answer.text}")
        return int(trade["broker_order_id"])

    async def open_positions(self) -> int:
        query = text(
            "SELECT count(*) FROM broker_positions p JOIN broker_accounts a ON a.id = p.account_id "
            "WHERE a.slug = :slug"
        )
        async with self._engine.connect() as connection:
            return int(await connection.scalar(query, {"slug": ACCOUNT}))

    async def begin_turn(self) -> None:
        await until(self._has_fresh_quotes, what="the stack's first quotes")

    async def end_turn(self) -> None:
        """The stack's own feed goes on, as it does in service."""

    async def _has_fresh_quotes(self) -> bool:
        status = (await self._api.get("/api/system/status")).json()
        return any(account["account"] == ACCOUNT and account["quotes"] for account in status["accounts"])


@asynccontextmanager
async def rest_caller(embedded: Embedded) -> AsyncIterator[Rest]:
    caller = find_caller(embedded.plan.state, url=None, token=None)
    engine = embedded.engine("owner", pool_size=1)
    headers = {"Authorization": f"Bearer {caller.token}"}
    async with httpx.AsyncClient(base_url=caller.url, headers=headers, timeout=30, trust_env=False) as api:
        try:
            yield Rest(api, engine)
        finally:
            await engine.dispose()
