"""Times that were taken, and what is said of them: medians and tails, never means."""

import math
import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(kw_only=True)
class Samples:
    """Milliseconds of one thing, grouped by the round in which they were taken."""

    name: str
    rounds: list[list[float]] = field(default_factory=list)

    def begin_round(self) -> None:
        self.rounds.append([])

    async def time(self, work: Awaitable[T]) -> T:
        began = time.perf_counter()
        result = await work
        self.add((time.perf_counter() - began) * 1000)
        return result

    def add(self, milliseconds: float) -> None:
        self.rounds[-1].append(milliseconds)

    @property
    def all(self) -> list[float]:
        return [value for taken in self.rounds for value in taken]

    def percentile(self, percent: float) -> float:
        return percentile(self.all, percent)

    def ratio_to(self, floor: "Samples") -> float:
        """The median over the rounds of how many times longer than `floor` it took in the same round.

        Rounds are interleaved, so a noisy minute of the machine falls on both sides of each quotient.
        """
        quotients = [
            percentile(mine, 50) / percentile(its, 50)
            for mine, its in zip(self.rounds, floor.rounds, strict=True)
            if mine and its
        ]
        return percentile(quotients, 50)

    def summary(self) -> dict[str, float | int]:
        return {
            "n": len(self.all),
            "p50_ms": round(self.percentile(50), 2),
            "p95_ms": round(self.percentile(95), 2),
            "p99_ms": round(self.percentile(99), 2),
            "max_ms": round(max(self.all), 2),
            "best_round_p50_ms": round(min(percentile(taken, 50) for taken in self.rounds if taken), 2),
        }


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that `percent` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]
