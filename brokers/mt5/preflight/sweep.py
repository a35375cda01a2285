"""The end of the pre-flight: what it has opened is closed and cancelled, or named."""

from typing import Any

from brokers.mt5.preflight import evidence, orders
from brokers.mt5.preflight.terminal import Hung, Pace, ProbedTerminal, Refused, TerminalServed, Unanswered, Way
from brokers.mt5.preflight.trial import PATIENCE_SECONDS, Trial
from brokers.mt5.session import Struct

ATTEMPTS_MAX = 3
ATTACHMENTS_MAX = 2
LOST = (Hung, Refused, TerminalServed, Unanswered)


class Sweep:
    def __init__(self, terminal: ProbedTerminal, way: Way, trial: Trial, *, pace: Pace) -> None:
        self._terminal = terminal
        self._way = way
        self._trial = trial
        self._pace = pace

    async def run(self) -> tuple[str, ...]:
        """What is left at the broker, empty for nothing."""
        failure: Exception | None = None
        for _ in range(ATTACHMENTS_MAX):
            try:
                await self._attach()
                return await self._clear()
            except LOST as lost:
                failure = lost
                await self._terminal.close()
        first, second = self._trial.opened.magics
        return (f"whatever is open under the magics {first} and {second} ({failure})",)

    async def _attach(self) -> None:
        # A pipe that has lost an answer gives no other one.
        if self._trial.opened.unclear or not self._terminal.alive:
            reply = await self._terminal.open()
            if not reply.value:
                raise Unanswered("initialize", reply.code, reply.message)
        shown = await self._terminal.ask("account_info")
        if (shown["login"], shown["server"]) != (self._way.login, self._way.server):
            raise Refused(f"the terminal now shows account {shown['login']} at {shown['server']}")

    async def _clear(self) -> tuple[str, ...]:
        attempts = 0
        # What was sent without an answer may show up late.
        give_up_at = self._pace.monotonic() + (PATIENCE_SECONDS if self._trial.opened.unclear else 0.0)
        while True:
            left = await self._left()
            if not left and attempts:
                # What was sent without an answer has been seen, and is gone.
                self._trial.opened.unclear = False
                return ()
            if not left and self._pace.monotonic() >= give_up_at:
                return ()
            if not left:
                await self._pace.pause()
                continue
            if attempts == ATTEMPTS_MAX:
                return tuple(left)
            attempts += 1
            replies = [await self._trial.send(request) for request in left.values()]
            if any(evidence.owned(reply) or not evidence.proven(reply) for reply in replies):
                await self._wait_for_change(left)

    async def _wait_for_change(self, left: dict[str, dict[str, Any]]) -> None:
        give_up_at = self._pace.monotonic() + PATIENCE_SECONDS / ATTEMPTS_MAX
        while (await self._left()).keys() == left.keys() and self._pace.monotonic() < give_up_at:
            await self._pace.pause()

    async def _left(self) -> dict[str, dict[str, Any]]:
        """What shows under our numbers, each with the request that ends it."""
        opened = self._trial.opened
        pending: list[Struct] = await self._terminal.ask("orders_get")
        positions: list[Struct] = await self._terminal.ask("positions_get")
        left = {
            f"order {order['ticket']} in {order['symbol']}": orders.removal(order["ticket"])
            for order in pending
            if order["magic"] in opened.magics
        }
        for position in positions:
            if position["magic"] in opened.magics or position["identifier"] in opened.identifiers:
                left[f"position {position['ticket']} in {position['symbol']}"] = await self._trial.closing(
                    position
                )
        return left
