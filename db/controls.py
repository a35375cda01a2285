"""Trading control: the stop's rows, read so that no claim slips past a stop.

A stop waits only for the claims that are being made. Whoever writes a control, of whatever scope, first locks the
row of `all`: a row that does not exist yet cannot be locked, and every claim holds that one.
"""

from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from domain.controls import Control, ControlScope, ControlState

_BEHIND_THE_LATCH = text("SELECT 1 FROM trading_control WHERE scope = 'all' FOR SHARE")

_IN_FORCE = text("""
    SELECT scope, scope_id, state, reason FROM trading_control
    WHERE (scope, scope_id) IN (('all', ''), ('account', :account_slug), ('user', :user_id), ('symbol', :symbol))
    FOR SHARE
""")


async def read_controls(
    connection: AsyncConnection, *, account_slug: str, user_id: UUID, symbol: str
) -> tuple[Control, ...]:
    """The controls in force for an order, locked against change until the transaction ends."""
    # In a statement of its own: one that waited for a latch goes on with what it saw before, and would miss a row
    # that the latch has just made.
    await connection.execute(_BEHIND_THE_LATCH)
    whose = {"account_slug": account_slug, "user_id": str(user_id), "symbol": symbol}
    return tuple(
        Control(
            scope=ControlScope(row["scope"]),
            scope_id=row["scope_id"],
            state=ControlState(row["state"]),
            reason=row["reason"],
        )
        for row in (await connection.execute(_IN_FORCE, whose)).mappings()
    )
