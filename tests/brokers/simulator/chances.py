"""Faults as chance draws them, for tests that want one of each."""

from random import Random

from brokers.simulator.chaos import DRAWS
from brokers.simulator.faults import Fault


def one_of_each(seed: int = 1) -> list[Fault]:
    return [draw(Random(seed)) for draw in DRAWS.values()]
