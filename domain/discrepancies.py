"""The life of a discrepancy: found, then explained by a record, corrected, or decided by a person.

`kept_out` moves with something in flight and is looked at again; `passed` was gone before anybody acted.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from domain.money import ZERO
from domain.reconciliation import MONEY, POSITIONS, Difference, DifferenceKind


class DiscrepancyState(StrEnum):
    KEPT_OUT = "kept_out"
    OPEN = "open"
    DISPUTED = "disputed"
    PASSED = "passed"
    EXPLAINED = "explained"
    CORRECTED = "corrected"
    ACCEPTED = "accepted"
    ADOPTED = "adopted"
    CLOSED = "closed"


class Decision(StrEnum):
    """What a person says: the broker is right, it is nobody's of ours, close it, or the broker is wrong."""

    ACCEPT = "accept"
    ADOPT = "adopt"
    CLOSE = "close"
    DISPUTE = "dispute"


_S = DiscrepancyState

TRANSITIONS: dict[DiscrepancyState, frozenset[DiscrepancyState]] = {
    _S.KEPT_OUT: frozenset({_S.OPEN, _S.CORRECTED, _S.PASSED}),
    _S.OPEN: frozenset({_S.DISPUTED, _S.EXPLAINED, _S.ACCEPTED, _S.ADOPTED, _S.CLOSED}),
    _S.DISPUTED: frozenset({_S.EXPLAINED, _S.ACCEPTED, _S.ADOPTED, _S.CLOSED}),
    # A late record takes a correction, or a decision, back: it was the cause all along.
    _S.CORRECTED: frozenset({_S.EXPLAINED}),
    _S.ACCEPTED: frozenset({_S.EXPLAINED}),
    _S.ADOPTED: frozenset({_S.EXPLAINED}),
    _S.CLOSED: frozenset(),
    _S.EXPLAINED: frozenset(),
    _S.PASSED: frozenset(),
}
WAITING = frozenset({_S.KEPT_OUT, _S.OPEN, _S.DISPUTED})

DECIDED = {
    Decision.ACCEPT: _S.ACCEPTED,
    Decision.ADOPT: _S.ADOPTED,
    Decision.CLOSE: _S.CLOSED,
    Decision.DISPUTE: _S.DISPUTED,
}


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a decision would do, seen before it is made; `objection` says why it does not fit.

    `balance` is by how much the books' cash changes, `lots` by how much their position does (signed), `realised`
    what closing would realise at the broker's prices of now; None where nothing of it changes.
    """

    decision: Decision
    told: str
    balance: Decimal | None = None
    lots: Decimal | None = None
    realised: Decimal | None = None
    objection: str | None = None


def objection(decision: Decision, difference: Difference) -> str | None:
    """Why the decision does not fit what differs; None if it does."""
    open_there = difference.kind in POSITIONS and bool(difference.theirs)
    if decision is Decision.ADOPT and not open_there:
        return f"only an open position is adopted; {difference.subject} is accepted or disputed"
    if decision is Decision.CLOSE and not open_there:
        return f"the broker shows no open position for {difference.subject}"
    return None


def effects(difference: Difference, *, floating: Decimal | None) -> tuple[Effect, ...]:
    """What each decision would do to money, positions and limits; `floating` is the position's present profit."""
    return tuple(_effect(decision, difference, floating) for decision in Decision)


def _effect(decision: Decision, difference: Difference, floating: Decimal | None) -> Effect:
    refused = objection(decision, difference)
    if refused is not None:
        return Effect(decision=decision, told="does not fit", objection=refused)
    if decision is Decision.DISPUTE:
        return Effect(
            decision=decision, told="nothing changes; it goes on waiting, and what it stopped stays stopped"
        )
    if difference.kind in MONEY:
        return Effect(
            decision=decision,
            told="the books take the broker's sum as unexplained: no trade's profit, and no loss of a limit",
            balance=difference.amount if difference.kind is DifferenceKind.BALANCE else ZERO,
        )
    if difference.kind not in POSITIONS:
        return Effect(decision=decision, told="nothing is entered; it is no news while both sides show the same")
    return _position_effect(decision, difference, floating)


def _position_effect(decision: Decision, difference: Difference, floating: Decimal | None) -> Effect:
    match decision:
        case Decision.CLOSE:
            return Effect(
                decision=decision,
                told="all of it is closed at the market; what that realises is the account's, not a user's",
                lots=-(difference.ours or ZERO),
                realised=floating,
            )
        case Decision.ADOPT:
            told = "the position is the account's own, of no user; it goes on counting for exposure and loss"
        case _:
            told = "the books take the broker's lots; limits count what the broker shows, before and after"
    return Effect(decision=decision, told=told, lots=difference.amount)
