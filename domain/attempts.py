"""What became of one attempt to send an order, in the word that the books keep."""

from enum import StrEnum

from domain.orders import Accepted, NotSent, Rejected, SubmitOutcome, Unresolved


class AttemptOutcome(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNRESOLVED = "unresolved"
    NOT_SENT = "not_sent"


def outcome_of(submitted: SubmitOutcome) -> AttemptOutcome:
    match submitted:
        case Accepted():
            return AttemptOutcome.ACCEPTED
        case Rejected():
            return AttemptOutcome.REJECTED
        case Unresolved():
            return AttemptOutcome.UNRESOLVED
        case NotSent():
            return AttemptOutcome.NOT_SENT
