"""Operating faults and conflicts. Domain errors know nothing of HTTP or Temporal; each edge has its own table.

PipelineError
├── IllegalTransition        a state machine was asked for a move that it does not have
├── IntentConflict           the client order id is taken by another body
├── TradeNotFound
├── PositionNotFound
├── AccountNotFound
├── CommandConflict          the idempotency key is taken by another command
├── NotCancellable           the trade is in a state that cannot be cancelled or modified
├── NotUnresolved            a person decided on a trade whose outcome is known
├── OrderTaken               the broker's order belongs to another trade
├── ReservationConflict      a reservation was asked to resolve twice in different ways
├── BrokerUnavailable        the terminal gave no answer to a question; nothing may be concluded
├── BrokerMismatch           the terminal shows another account than the configured one
├── ClockMismatch            the broker's clock is not in the configured zone, so its times mean nothing
├── ContractsUnchanged       a person accepted a change of a contract that nobody waits for
├── DiscrepancyNotFound
├── DiscrepancyDecided       it has ended by a record, a correction or a person
├── DecisionRefused          a decision that does not fit the difference
├── StopNotFound
├── StopConflict             the id of a stop is taken by another one
├── StopPlaceUnknown         a stop was asked for what does not exist; nothing was stopped
├── NotStopped               trading is open there already
├── CauseRemains             trading is opened again only when what stopped it is over
├── LimitValueRefused        the limit cannot have the value
├── LimitTermRefused         the change of a limit lasts for another time than was asked for
├── LooseningRefused         whoever asked may not loosen the limit for good
└── LeaseLost                another sender serves the account now
"""

from uuid import UUID


class PipelineError(Exception):
    """A fault with a name; `code` is stable and goes to callers."""

    code = "pipeline_error"


class IllegalTransition(PipelineError):
    code = "illegal_transition"

    def __init__(self, state: str, event: str) -> None:
        super().__init__(f"a trade that is {state} has no transition for {event}")


class IntentConflict(PipelineError):
    code = "client_order_id_conflict"

    def __init__(self, client_order_id: str) -> None:
        super().__init__(f"client_order_id {client_order_id!r} was used for another order; nothing was changed")


class TradeNotFound(PipelineError):
    code = "trade_not_found"

    def __init__(self, trade_id: UUID | str) -> None:
        super().__init__(f"there is no trade {trade_id}")


class PositionNotFound(PipelineError):
    code = "position_not_found"

    def __init__(self, position_id: int) -> None:
        super().__init__(f"there is no open position {position_id}")


class AccountNotFound(PipelineError):
    code = "account_not_found"

    def __init__(self, slug: str | None) -> None:
        super().__init__(f"there is no account {slug!r} for you" if slug else "you have no account; name one")


class CommandConflict(PipelineError):
    code = "idempotency_key_conflict"

    def __init__(self, key: str) -> None:
        super().__init__(f"idempotency key {key!r} was used for another command; nothing was changed")


class NotCancellable(PipelineError):
    code = "not_cancellable"

    def __init__(self, state: str) -> None:
        super().__init__(f"the trade is {state}; only a working order can be cancelled or modified")


class NotUnresolved(PipelineError):
    code = "not_unresolved"

    def __init__(self, state: str) -> None:
        super().__init__(f"the trade is {state}; only an unresolved one is decided by a person")


class OrderTaken(PipelineError):
    code = "order_taken"

    def __init__(self, broker_order_id: int) -> None:
        super().__init__(f"the broker's order {broker_order_id} belongs to another trade")


class ReservationConflict(PipelineError):
    code = "reservation_conflict"

    def __init__(self, state: str, asked: str) -> None:
        again = " again" if state == asked else ""
        super().__init__(f"the reservation is already {state} and cannot be {asked}{again}")
        # Each pair is another mistake of whoever asked, so each has a code of its own.
        self.code = f"{self.code}:{state}_then_{asked}"


class BrokerUnavailable(PipelineError):
    code = "broker_unavailable"


class BrokerMismatch(PipelineError):
    code = "broker_mismatch"


class ClockMismatch(PipelineError):
    code = "clock_mismatch"


class ContractsUnchanged(PipelineError):
    code = "contracts_unchanged"

    def __init__(self, slug: str, symbol: str) -> None:
        super().__init__(f"no change of {symbol} on account {slug} waits for acceptance")


class StopNotFound(PipelineError):
    code = "stop_not_found"

    def __init__(self, stop_id: UUID | str) -> None:
        super().__init__(f"there is no stop {stop_id}")


class StopConflict(PipelineError):
    code = "stop_conflict"

    def __init__(self, stop_id: UUID) -> None:
        super().__init__(f"the key was used for another stop, {stop_id}; that one stands, nothing was changed")


class StopPlaceUnknown(PipelineError):
    code = "stop_place_unknown"

    def __init__(self, scope: str, scope_id: str) -> None:
        super().__init__(f"there is no {scope} {scope_id!r}, so nothing was stopped; stop everything if in doubt")


class NotStopped(PipelineError):
    code = "not_stopped"

    def __init__(self, scope: str, scope_id: str) -> None:
        super().__init__(f"trading is not stopped for {f'{scope} {scope_id}'.strip()}")


class CauseRemains(PipelineError):
    code = "cause_remains"


class LimitValueRefused(PipelineError):
    code = "limit_value_refused"

    def __init__(self, name: str, mend: str) -> None:
        super().__init__(f"{name} cannot have this value; {mend}")


class LimitTermRefused(PipelineError):
    code = "limit_term_refused"

    def __init__(self, name: str, mend: str) -> None:
        super().__init__(f"{name} {mend}")


class LooseningRefused(PipelineError):
    code = "limit_loosening_refused"

    def __init__(self, name: str) -> None:
        super().__init__(f"an admin alone loosens {name} for good or sets its first value; loosen it for a time")


class DiscrepancyNotFound(PipelineError):
    code = "discrepancy_not_found"

    def __init__(self, discrepancy_id: UUID) -> None:
        super().__init__(f"there is no discrepancy {discrepancy_id}")


class DiscrepancyDecided(PipelineError):
    code = "discrepancy_decided"

    def __init__(self, discrepancy_id: UUID, state: str) -> None:
        super().__init__(f"discrepancy {discrepancy_id} is {state}; nothing is left to decide")


class DecisionRefused(PipelineError):
    """The decision does not fit the difference."""

    code = "decision_refused"


class LeaseLost(PipelineError):
    code = "lease_lost"
