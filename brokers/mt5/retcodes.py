"""What the terminal's answers prove.

1. A code that is not in a table proves nothing.
2. Only an answer that excludes execution may end a send as refused; everything else is looked up first.
"""

from enum import StrEnum


class Verdict(StrEnum):
    DONE = "done"
    PARTIAL = "partial"
    ACCEPTED = "accepted"
    NO_OP = "no_op"
    RETRY = "retry"
    WAIT = "wait"
    REJECT = "reject"
    UNKNOWN = "unknown"


INVALID_FILL = 10030
NO_CONNECTION = 10031

RETCODES: dict[int, tuple[str, Verdict]] = {
    10004: ("requote", Verdict.RETRY),
    10006: ("reject", Verdict.REJECT),
    # A dealer may cancel after a partial fill.
    10007: ("cancel", Verdict.UNKNOWN),
    10008: ("placed", Verdict.ACCEPTED),
    10009: ("done", Verdict.DONE),
    10010: ("done_partial", Verdict.PARTIAL),
    10011: ("error", Verdict.UNKNOWN),
    # The time that ran out is the client's wait, so the order may have been executed.
    10012: ("timeout", Verdict.UNKNOWN),
    10013: ("invalid", Verdict.REJECT),
    10014: ("invalid_volume", Verdict.REJECT),
    10015: ("invalid_price", Verdict.REJECT),
    10016: ("invalid_stops", Verdict.REJECT),
    10017: ("trade_disabled", Verdict.REJECT),
    10018: ("market_closed", Verdict.WAIT),
    10019: ("no_money", Verdict.REJECT),
    10020: ("price_changed", Verdict.RETRY),
    10021: ("price_off", Verdict.RETRY),
    10022: ("invalid_expiration", Verdict.REJECT),
    10023: ("order_changed", Verdict.RETRY),
    10024: ("too_many_requests", Verdict.WAIT),
    10025: ("no_changes", Verdict.NO_OP),
    10026: ("server_disables_at", Verdict.REJECT),
    10027: ("client_disables_at", Verdict.REJECT),
    10028: ("locked", Verdict.RETRY),
    10029: ("frozen", Verdict.RETRY),
    INVALID_FILL: ("invalid_fill", Verdict.REJECT),
    NO_CONNECTION: ("connection", Verdict.UNKNOWN),
    10032: ("only_real", Verdict.REJECT),
    10033: ("limit_orders", Verdict.REJECT),
    10034: ("limit_volume", Verdict.REJECT),
    10035: ("invalid_order", Verdict.REJECT),
    10036: ("position_closed", Verdict.REJECT),
    10038: ("invalid_close_volume", Verdict.REJECT),
    10039: ("close_order_exist", Verdict.RETRY),
    10040: ("limit_positions", Verdict.REJECT),
    10041: ("reject_cancel", Verdict.REJECT),
    10042: ("long_only", Verdict.REJECT),
    10043: ("short_only", Verdict.REJECT),
    10044: ("close_only", Verdict.REJECT),
    10045: ("fifo_close", Verdict.REJECT),
    10046: ("hedge_prohibited", Verdict.REJECT),
}

# The price moved before the broker got to the order; a fresh one may be sent inside the caller's bounds.
PRICE_MOVED = frozenset({10004, 10020})

REFUSALS = frozenset({Verdict.RETRY, Verdict.WAIT, Verdict.REJECT})
OWNED = frozenset({Verdict.DONE, Verdict.PARTIAL, Verdict.ACCEPTED})


def verdict(retcode: int) -> Verdict:
    return RETCODES[retcode][1] if retcode in RETCODES else Verdict.UNKNOWN


def retcode_name(retcode: int) -> str:
    return RETCODES[retcode][0] if retcode in RETCODES else f"retcode_{retcode}"


class Silence(StrEnum):
    """What `order_send` returning None proves, by `last_error`."""

    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


NOT_FOUND = -4

LAST_ERRORS: dict[int, tuple[str, Silence]] = {
    1: ("success", Silence.UNKNOWN),
    -1: ("fail", Silence.UNKNOWN),
    -2: ("invalid_params", Silence.NOT_SENT),
    -3: ("no_memory", Silence.UNKNOWN),
    NOT_FOUND: ("not_found", Silence.NOT_SENT),
    -5: ("invalid_version", Silence.NOT_SENT),
    -6: ("auth_failed", Silence.NOT_SENT),
    -7: ("unsupported", Silence.NOT_SENT),
    -8: ("auto_trading_disabled", Silence.NOT_SENT),
    -10000: ("ipc_fail", Silence.UNKNOWN),
    # Almost surely not sent, but a failed write does not say how much of it arrived.
    -10001: ("ipc_send_failed", Silence.UNKNOWN),
    -10002: ("ipc_receive_failed", Silence.UNKNOWN),
    -10003: ("ipc_initialize_failed", Silence.UNKNOWN),
    -10004: ("no_ipc_connection", Silence.NOT_SENT),
    -10005: ("ipc_timeout", Silence.UNKNOWN),
}

# From here down the package has lost its terminal and has to be attached anew.
IPC_LOST = -10000

# The simulated terminal and our bridge refuse a sender whose lease has been taken over before anything is done.
FENCED = "Terminal: fenced"


def silence(code: int, message: str) -> Silence:
    if message.startswith(FENCED):
        return Silence.NOT_SENT
    return LAST_ERRORS[code][1] if code in LAST_ERRORS else Silence.UNKNOWN


def silence_name(code: int, message: str) -> str:
    if message.startswith(FENCED):
        return "fenced"
    return LAST_ERRORS[code][0] if code in LAST_ERRORS else f"last_error_{code}"
