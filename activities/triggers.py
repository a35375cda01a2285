"""The triggers of an account, watched from its feed: what trips latches a stop at once, in one transaction."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from uuid import uuid4

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from temporalio import activity

from activities.sender import Sender
from activities.units import passing
from db import accounts, triggers
from domain.controls import ControlScope
from domain.magics import is_ours
from domain.orders import BrokerOrder
from domain.stops import StopCause
from domain.triggers import Tripped


class Triggers:
    """Watches one account. `link_patience` is how long the broker may give no reading before trading stops."""

    def __init__(
        self,
        engine: AsyncEngine,
        sender: Sender,
        *,
        data_age_max: timedelta,
        link_patience: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._sender = sender
        self._data_age_max = data_age_max
        self._link_patience = link_patience
        self._now = now
        self._read_at = now()

    async def watch(self, orders: Sequence[BrokerOrder]) -> None:
        """Look at everything that stops trading by itself, after a reading of the broker's working orders."""
        resting = Counter(order.magic for order in orders if is_ours(order.magic))
        self._read_at = now = self._now()
        try:
            async with self._engine.begin() as connection:
                await accounts.check_lease(connection, self._sender.lease)
                found = await triggers.tripped(
                    connection,
                    self._sender.account,
                    resting=resting,
                    now=now,
                    data_age_max=self._data_age_max,
                )
                await self._trip(connection, found, now=now)
        except (ArithmeticError, AssertionError, DBAPIError, LookupError, TypeError, ValueError) as error:
            if isinstance(error, DBAPIError) and passing(error):
                # Without the books nothing can be claimed either, so nothing leaves that a stop would keep in.
                raise
            activity.logger.exception("the triggers could not be evaluated; trading stops")
            told = f"the triggers could not be evaluated: {type(error).__name__}: {error}"
            await self._trip_alone(StopCause.EVALUATION_FAILED, told)

    async def miss(self) -> None:
        """Note that the broker gave no reading; for too long, that is a lost link."""
        silent = self._now() - self._read_at
        if silent > self._link_patience:
            seconds = silent // timedelta(seconds=1)
            await self._trip_alone(StopCause.LINK_LOST, f"the broker has given no reading for {seconds} s")

    async def _trip_alone(self, cause: StopCause, reason: str) -> None:
        account = self._sender.account
        alone = Tripped(cause=cause, scope=ControlScope.ACCOUNT, scope_id=account.slug, reason=reason)
        async with self._engine.begin() as connection:
            await accounts.check_lease(connection, self._sender.lease)
            if not await triggers.stands(connection, alone):
                await self._trip(connection, [alone], now=self._now())

    async def _trip(self, connection: AsyncConnection, found: list[Tripped], *, now: datetime) -> None:
        ids = [uuid4() for _ in found]
        await triggers.trip(connection, found, ids=ids, actor=self._sender.actor, now=now)
