"""Whether what stopped trading is over, as the books show it."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from db import audit_faults
from db.discrepancies import standing_beyond
from db.loss_watch import losses_reached
from db.stops import StopProgress
from domain.stops import StopCause

_CONDITIONS = text("""
    SELECT b.slug, c.message FROM account_conditions c JOIN broker_accounts b ON b.id = c.account_id
    WHERE c.kind IN ('broker_disconnected', 'account_mismatch', 'clock_mismatch')
    ORDER BY b.slug, c.kind
""")
_UNRESOLVED = text("SELECT count(*) FROM trade_ledger WHERE state = 'unresolved'")

_LOSSES = frozenset({StopCause.DAILY_LOSS, StopCause.ROLLING_LOSS, StopCause.EVALUATION_FAILED})


async def remaining_causes(
    connection: AsyncConnection, held: Sequence[StopProgress], *, now: datetime, data_age_max: timedelta
) -> list[str]:
    """What of the causes still holds, in words; one that only a person can judge is over by that person's word."""
    causes = {each.stop.cause for each in held}
    found: list[str] = []
    if causes & _LOSSES:
        reached = await losses_reached(connection, account=None, now=now, data_age_max=data_age_max)
        found += [
            str(loss)
            for loss in reached
            if any(each.stop.covers(account_slug=loss.account, user_id=loss.user_id, symbol="") for each in held)
        ]
    if StopCause.LINK_LOST in causes:
        found += [
            f"account {row['slug']}: {row['message']}"
            for row in (await connection.execute(_CONDITIONS)).mappings()
        ]
    if StopCause.UNEXPLAINED_DIFFERENCE in causes:
        found += [
            f"{each.difference.subject} still differs, of unknown cause; decide discrepancy {each.id}"
            for slug, each in await standing_beyond(connection)
            if any(stop.stop.covers(account_slug=slug, user_id=None, symbol="") for stop in held)
        ]
    if StopCause.AUDIT_BROKEN in causes:
        found += [
            f"audit fault {fault.id} waits for somebody to look into it: {fault.message}"
            for fault in await audit_faults.list_standing(connection)
        ]
    if StopCause.SURPLUS_SEND in causes:
        unresolved = await connection.scalar(_UNRESOLVED)
        found += [f"{unresolved} trades are unresolved"] if unresolved else []
    return found
