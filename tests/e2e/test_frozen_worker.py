"""A broker worker, stopped by the kernel for longer than its lease, that wakes when another serves the account."""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from brokers.simulator.control import Control, Send
from brokers.simulator.faults import Delay
from stack.chaos.processes import PROGRAMS, Household, household
from tests.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.long]

LEASE_SECONDS = 3
ANSWER_DELAY_MS = 2000

# An order that never left may have met its deadline. If the frozen worker's last poll had taken it, only a search
# by the next sender can tell that nothing was sent, and the trade ends as absent.
HONEST = {
    "before the order came": {("filled", 1), ("denied", 0), ("rejected", 0)},
    "between the send and its answer": {("filled", 1)},
}


@pytest.mark.parametrize("moment", HONEST)
async def test_a_worker_that_wakes_after_another_took_over_sends_nothing(moment: str) -> None:
    settings = {"LEASE_SECONDS": str(LEASE_SECONDS), "ABSENCE_QUIET_SECONDS": "1"}
    async with household(settings) as stack, stack.logged_in() as api:
        sleeper = stack.pids["broker"]
        if moment == "before the order came":
            os.kill(sleeper, signal.SIGSTOP)
            trade_id = await stack.post(api, "frozen-1", "buy")
        else:
            with Control("127.0.0.1", stack.ports.simulator) as control:
                control.script("EURUSD", [Delay(ms=ANSWER_DELAY_MS)])
            trade_id = await stack.post(api, "frozen-1", "buy")
            await until(lambda: sent(stack), what="the order to reach the terminal")
            os.kill(sleeper, signal.SIGSTOP)
        await take_over(stack)
        trade = await stack.settled(api, trade_id)
        fences = [send.fence for send in sends(stack)]

        os.kill(sleeper, signal.SIGCONT)

        await until(lambda: ended(sleeper), what="the late waker to give up", timeout_seconds=30)
        assert (trade["state"], len(fences)) in HONEST[moment]
        assert [send.fence for send in sends(stack)] == fences
        assert await stack.judge() == []


async def take_over(stack: Household) -> None:
    """Start a second worker beside the frozen one; it is refused until the lease has run out."""
    second = replace(PROGRAMS["broker"](stack.plan), name="broker-2", title="the second broker worker")
    await stack.start_patiently(second)


def sends(stack: Household) -> list[Send]:
    with Control("127.0.0.1", stack.ports.simulator) as control:
        return [send for send in control.books().sends if send.magic]


async def sent(stack: Household) -> bool:
    return len(sends(stack)) == 1


async def ended(pid: int) -> bool:
    return await asyncio.to_thread(is_over, Path(f"/proc/{pid}/stat"))


def is_over(status: Path) -> bool:
    try:
        return status.read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
