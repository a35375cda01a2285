"""How often a piece of work asks the database and waits for it."""

from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine


class RoundTrips:
    """Counts the statements of some engines, BEGIN and COMMIT among them."""

    def __init__(self, *engines: AsyncEngine) -> None:
        self.count = 0
        for engine in engines:
            for moment in ("before_cursor_execute", "begin", "commit"):
                event.listen(engine.sync_engine, moment, self._one)

    def _one(self, *_: Any) -> None:
        self.count += 1
