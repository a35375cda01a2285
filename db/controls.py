"""Trading control: the stop's rows, read so that a stop waits for nobody and nobody slips past one."""

from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from db.tables import trading_control
from domain.controls import Control, ControlScope, ControlState


async def read_controls(
    connection: AsyncConnection, *, account_slug: str, user_id: UUID, symbol: str
) -> tuple[Control, ...]:
    """The controls in force for an order, locked against change until the transaction ends."""
    keys = [
        (ControlScope.ALL, ""),
        (ControlScope.ACCOUNT, account_slug),
        (ControlScope.USER, str(user_id)),
        (ControlScope.SYMBOL, symbol),
    ]
    query = (
        select(trading_control)
        .where(tuple_(trading_control.c.scope, trading_control.c.scope_id).in_(keys))
        .with_for_update(read=True)
    )
    return tuple(
        Control(
            scope=ControlScope(row["scope"]),
            scope_id=row["scope_id"],
            state=ControlState(row["state"]),
            reason=row["reason"],
        )
        for row in (await connection.execute(query)).mappings()
    )
