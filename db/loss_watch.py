"""Whether a loss limit has been reached, by what was realised and by what floats now."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from db.risk_context import read_risk_context
from db.risk_standing import probe, trading_users
from domain.controls import ControlScope
from domain.limits import LimitName, loss_reached
from domain.money import Currency


@dataclass(frozen=True, kw_only=True)
class LossReached:
    """`user_id` is None where it is the limit of the whole account."""

    account: str
    user_id: UUID | None
    name: LimitName
    lost: Decimal
    limit: Decimal
    currency: Currency

    def __str__(self) -> str:
        return f"{self.name} of {self.limit} {self.currency} on {self.account} is reached: {self.lost}"


async def losses_reached(
    connection: AsyncConnection, *, account: str | None, now: datetime, data_age_max: timedelta
) -> list[LossReached]:
    """Every loss limit that is reached, of one account or of all."""
    found: list[LossReached] = []
    for who in await trading_users(connection, user_id=None, account=account):
        context = await read_risk_context(connection, probe(who, "", now=now), now=now, data_age_max=data_age_max)
        for limit in context.limits:
            if limit.name not in {LimitName.DAILY_LOSS, LimitName.ROLLING_LOSS}:
                continue
            for usage in context.usages:
                lost = loss_reached(limit.name, usage)
                if usage.scope is limit.scope and 0 < lost >= limit.value:
                    found.append(
                        LossReached(
                            account=who.account,
                            user_id=who.user_id if limit.scope is ControlScope.USER else None,
                            name=limit.name,
                            lost=lost,
                            limit=limit.value,
                            currency=who.currency,
                        )
                    )
    # The limit of the account is met once for each of its users.
    return list({(each.account, each.user_id, each.name): each for each in found}.values())
