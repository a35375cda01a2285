"""The matrix: every step of a trade's life, and everything that can befall it.

A cell's place in the list is its number; seed `s` plays the cell `s mod N`, so that any N seeds in a row play all.
"""

from dataclasses import dataclass
from enum import StrEnum

from brokers.simulator.fault_wire import KINDS
from brokers.simulator.faults import Event, TransportFault, ViewFault


class Step(StrEnum):
    """As the activities are named; `close` and `close_by` are submits that close, `feed` one round of `follow`."""

    ACCEPT = "accept"
    RESERVE = "reserve"
    REFRESH = "refresh"
    SUBMIT = "submit"
    CLOSE = "close"
    CLOSE_BY = "close_by"
    GIVE_UP_SENDING = "give_up_sending"
    SEARCH = "search"
    DECIDE = "decide"
    FEED = "feed"
    READ_PROGRESS = "read_progress"
    CANCEL = "cancel_order"
    MODIFY = "modify_order"
    SETTLE = "settle"


class Blow(StrEnum):
    """What befalls the process or the books of a step."""

    KILL_BEFORE = "killed before"
    KILL_WITHIN = "killed within"
    KILL_AFTER = "killed after"
    DUPLICATE = "run twice at once"
    DELAY = "delayed"
    FREEZE = "frozen, then woken"
    BOOKS_AWAY = "books away"
    COMMIT_UNKNOWN = "commit's answer lost"
    RESET = "workflow reset after"
    RESTORED = "books put back after"


class CallBlow(StrEnum):
    """What befalls a single call of the terminal, beyond what a terminal does by itself."""

    KILL_BEFORE_CALL = "killed before a call"
    KILL_AFTER_CALL = "killed after a call"
    WRONG_ANSWER = "wrong answer"


SUBMITS = frozenset({Step.SUBMIT, Step.CLOSE, Step.CLOSE_BY})
SENDING = SUBMITS | {Step.CANCEL, Step.MODIFY}
AT_BROKER = SENDING | {Step.REFRESH, Step.SEARCH, Step.FEED}
# A feed has no workflow of a trade behind it.
NO_WORKFLOW = frozenset({Blow.RESET, Blow.DUPLICATE})
# A person's word is in the books alone; where they are put back it has to be said again.
IN_BOOKS_ALONE = frozenset({Step.DECIDE})
ON_READS = tuple(name for name, kind in KINDS.items() if issubclass(kind, TransportFault | ViewFault | Event))


@dataclass(frozen=True, kw_only=True)
class Cell:
    """`fault` names a kind of the simulated terminal's; a blow and a fault never come together."""

    step: Step
    blow: Blow | CallBlow | None = None
    fault: str | None = None

    @property
    def befalls(self) -> str:
        return str(self.blow or self.fault)


def _cells() -> tuple[Cell, ...]:
    cells = []
    for step in Step:
        left_out = NO_WORKFLOW if step is Step.FEED else {Blow.RESTORED} if step in IN_BOOKS_ALONE else set()
        blows = [blow for blow in Blow if blow not in left_out]
        cells += [Cell(step=step, blow=blow) for blow in blows]
        if step in AT_BROKER:
            cells += [Cell(step=step, blow=blow) for blow in CallBlow]
            names = tuple(KINDS) if step in SENDING else ON_READS
            cells += [Cell(step=step, fault=name) for name in names]
    return tuple(cells)


CELLS = _cells()


def cell_of(seed: int) -> Cell:
    return CELLS[seed % len(CELLS)]
