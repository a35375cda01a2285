"""Commands to trades: each stored once under its idempotency key, with what became of it."""

from sqlalchemy import Update, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from db.tables import trade_commands
from domain.commands import Command, CommandEnd, CommandResult
from domain.errors import CommandConflict


async def begin(connection: AsyncConnection, command: Command) -> CommandResult | None:
    """Store the command; its result if it was carried out before. Raises CommandConflict for another body."""
    await connection.execute(
        insert(trade_commands)
        .values(
            trade_id=command.trade_id,
            key=command.key,
            kind=command.kind,
            body_hash=command.body_hash,
            requested_by=command.requested_by,
        )
        .on_conflict_do_nothing()
    )
    query = select(trade_commands).where(
        trade_commands.c.trade_id == command.trade_id, trade_commands.c.key == command.key
    )
    row = (await connection.execute(query)).mappings().one()
    if (row["kind"], row["body_hash"]) != (command.kind, command.body_hash):
        raise CommandConflict(command.key)
    if row["outcome"] is None:
        return None
    return CommandResult(outcome=CommandEnd(row["outcome"]), reason=row["reason"])


async def mark_sent(connection: AsyncConnection, command: Command) -> None:
    """Keep that the command is on its way, in the transaction that found no stop against it."""
    await connection.execute(_of(command).values(sent_at=func.clock_timestamp()))


async def was_sent(connection: AsyncConnection, command: Command) -> bool:
    query = select(trade_commands.c.sent_at).where(
        trade_commands.c.trade_id == command.trade_id, trade_commands.c.key == command.key
    )
    return await connection.scalar(query) is not None


async def finish(connection: AsyncConnection, command: Command, result: CommandResult) -> None:
    await connection.execute(
        _of(command).values(outcome=result.outcome, reason=result.reason, outcome_at=func.now())
    )


def _of(command: Command) -> Update:
    return update(trade_commands).where(
        trade_commands.c.trade_id == command.trade_id, trade_commands.c.key == command.key
    )
