"""What the books show of the triggers: losses, sends and fills that do not match, slippage over and over."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db import audit_faults
from db.accounts import Account
from db.audit_standing import read_audit_standing
from db.journal import raise_alert
from db.loss_watch import losses_reached
from db.stops import latch
from domain.controls import ControlScope
from domain.stops import StopCause
from domain.triggers import Tripped, stop_of

# So many trades whose slippage was alerted within the window stop the account.
SLIPPAGE_COUNT = 3
SLIPPAGE_WINDOW = timedelta(minutes=10)
# A stop that is resumed over a surplus that a person has looked at is not set again for the same one.
SURPLUS_WINDOW = timedelta(minutes=10)

_SLIPPED = text("""
    SELECT count(*) FROM alerts
    WHERE account_id = :account_id AND kind = 'slippage' AND raised_at > greatest(
        CAST(:now AS timestamptz) - CAST(:window AS interval),
        (SELECT max(resumed_at) FROM emergency_stops
         WHERE cause = 'repeated_slippage' AND scope = 'account' AND scope_id = :slug))
""")

# Orders of one trade that the broker has executed, which is one at most, however many attempts it refused. One
# that it made itself, to open a position anew at rollover, is none of ours.
_SURPLUS = text("""
    SELECT t.id, t.client_order_id, count(DISTINCT f.broker_order_id) AS orders,
           (SELECT count(*) FROM send_attempts a WHERE a.trade_id = t.id AND a.outcome IS DISTINCT FROM 'not_sent')
               AS sends
    FROM fills f JOIN trade_ledger t ON t.id = f.trade_id
    WHERE f.account_id = :account_id AND f.magic = t.magic AND f.broker_order_id <> 0 AND f.reason <> 'rollover'
        AND t.id IN (SELECT trade_id FROM fills WHERE account_id = :account_id AND booked_at > greatest(
            CAST(:now AS timestamptz) - CAST(:window AS interval),
            (SELECT max(resumed_at) FROM emergency_stops
             WHERE cause = 'surplus_send' AND scope = 'account' AND scope_id = :slug)))
    GROUP BY t.id, t.client_order_id
    HAVING count(DISTINCT f.broker_order_id) > least(1, (
        SELECT count(*) FROM send_attempts a WHERE a.trade_id = t.id AND a.outcome IS DISTINCT FROM 'not_sent'))
    ORDER BY t.id
""")

# Orders that rest at the broker under one number of ours, against the sends that were claimed under it.
_RESTING = text("""
    SELECT t.client_order_id, o.orders,
           (SELECT count(*) FROM send_attempts a WHERE a.trade_id = t.id AND a.outcome IS DISTINCT FROM 'not_sent')
               AS sends
    FROM unnest(CAST(:magics AS bigint[]), CAST(:counts AS bigint[])) AS o(magic, orders)
    JOIN trade_ledger t ON t.account_id = :account_id AND t.magic = o.magic
    WHERE o.orders > (
        SELECT count(*) FROM send_attempts a WHERE a.trade_id = t.id AND a.outcome IS DISTINCT FROM 'not_sent')
    ORDER BY t.client_order_id
""")

_STANDING = text("""
    SELECT count(*) FROM emergency_stops
    WHERE cause = :cause AND scope = :scope AND scope_id = :scope_id AND resumed_at IS NULL
""")


async def tripped(
    connection: AsyncConnection,
    account: Account,
    *,
    resting: Mapping[int, int],
    now: datetime,
    data_age_max: timedelta,
) -> list[Tripped]:
    """Every trigger of the account that trips now; `resting` counts working orders at the broker by number."""
    found = [
        *await _losses(connection, account, now=now, data_age_max=data_age_max),
        *await _surplus(connection, account, resting=resting, now=now),
        *await _slippage(connection, account, now=now),
        *await _audit(connection),
    ]
    return [each for each in found if not await stands(connection, each)]


async def stands(connection: AsyncConnection, each: Tripped) -> bool:
    """Whether a stop of this cause is in place there, so that it is not set again."""
    place = {"cause": each.cause, "scope": each.scope, "scope_id": each.scope_id}
    return bool(await connection.scalar(_STANDING, place))


async def trip(
    connection: AsyncConnection, several: Sequence[Tripped], *, ids: Sequence[UUID], actor: str, now: datetime
) -> None:
    for each, stop_id in zip(several, ids, strict=True):
        await latch(connection, stop_of(each, stop_id=stop_id, actor=actor, now=now))


async def _losses(
    connection: AsyncConnection, account: Account, *, now: datetime, data_age_max: timedelta
) -> list[Tripped]:
    reached = await losses_reached(connection, account=account.slug, now=now, data_age_max=data_age_max)
    return [
        Tripped(
            cause=StopCause(loss.name.value),
            scope=ControlScope.ACCOUNT if loss.user_id is None else ControlScope.USER,
            scope_id=account.slug if loss.user_id is None else str(loss.user_id),
            reason=str(loss),
        )
        for loss in reached
    ]


async def _surplus(
    connection: AsyncConnection, account: Account, *, resting: Mapping[int, int], now: datetime
) -> list[Tripped]:
    """Sends equal intents: what the broker has under our numbers, executed or resting, was claimed, each once."""
    place = {"account_id": account.id, "slug": account.slug, "now": now, "window": SURPLUS_WINDOW}
    executed = (await connection.execute(_SURPLUS, place)).mappings().all()
    counted = {"account_id": account.id, "magics": list(resting), "counts": list(resting.values())}
    working = (await connection.execute(_RESTING, counted)).mappings().all() if resting else []
    if not executed and not working:
        return []
    told = [
        f"{row['client_order_id']}: {row['orders']} orders for {row['sends']} sends"
        for row in (*executed, *working)
    ]
    return [
        Tripped(
            cause=StopCause.SURPLUS_SEND,
            scope=ControlScope.ACCOUNT,
            scope_id=account.slug,
            reason=f"the broker has more orders than were sent ({', '.join(told)})",
        )
    ]


async def _slippage(connection: AsyncConnection, account: Account, *, now: datetime) -> list[Tripped]:
    place = {"account_id": account.id, "slug": account.slug, "now": now, "window": SLIPPAGE_WINDOW}
    count = int(await connection.scalar(_SLIPPED, place) or 0)
    if count < SLIPPAGE_COUNT:
        return []
    return [
        Tripped(
            cause=StopCause.REPEATED_SLIPPAGE,
            scope=ControlScope.ACCOUNT,
            scope_id=account.slug,
            reason=f"{count} trades slipped beyond their threshold within "
            f"{SLIPPAGE_WINDOW // timedelta(minutes=1)} minutes",
        )
    ]


async def _audit(connection: AsyncConnection) -> list[Tripped]:
    """What cannot be proven any more is no ground to trade on, for any account."""
    standing = await read_audit_standing(connection)
    if standing.late:
        await raise_alert(
            connection,
            "audit_unsealed",
            key=f"audit_unsealed:{standing.sealed_seq}",
            severity="critical",
            summary="audit rows have waited for their seal for more than a minute; look after the sealer",
            account_id=None,
            trade_id=None,
        )
    faults = await audit_faults.list_standing(connection) if standing.faults else []
    if not faults:
        return []
    reason = f"the audit record is not as it was sealed: {faults[0].message}"
    return [Tripped(cause=StopCause.AUDIT_BROKEN, scope=ControlScope.ALL, scope_id="", reason=reason)]
