"""The package's argument rules, checked before anything leaves the process (facts §2.4, §4.1)."""

import ctypes
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from brokers.simulator import constants as mt5
from brokers.simulator.client import TerminalError
from brokers.simulator.structs import TradeRequest

TEXT_UNITS_MAX = 29
CREDENTIAL_UNITS_MAX = 254
UNSIGNED = 2**64
SIGNED = 2**63
ORDINALS = ("1st", "2nd", "3rd", "4th", "5th")
INTEGERS = (
    "action",
    "magic",
    "order",
    "deviation",
    "type",
    "type_filling",
    "type_time",
    "expiration",
    "position",
    "position_by",
)
FLOATS = ("volume", "price", "stoplimit", "sl", "tp")
TEXTS = ("symbol", "comment")


def invalid(message: str) -> TerminalError:
    return TerminalError(mt5.RES_E_INVALID_PARAMS, message)


def invalid_argument(name: str) -> TerminalError:
    return invalid(f'Invalid "{name}" argument')


def trade_request(args: tuple[Any, ...], fields: Mapping[str, Any]) -> dict[str, Any]:
    """All fields of a request, missing ones zero, unknown keys dropped without a word."""
    if len(args) > 1 or (args and fields):
        raise invalid("Invalid number of arguments")
    if args and not isinstance(args[0], dict):
        raise invalid("Invalid 1st unnamed argument")
    if not args and not fields:
        raise invalid("Invalid arguments")
    given = args[0] if args else fields
    request: dict[str, Any] = {}
    for name in INTEGERS:
        request[name] = _integer(name, given.get(name, 0))
    for name in FLOATS:
        value = given.get(name, 0.0)
        if not isinstance(value, float):
            raise invalid_argument(name)
        request[name] = float(value)
    for name in TEXTS:
        request[name] = text(name, given.get(name, ""))
    return request


def echo(request: Mapping[str, Any]) -> TradeRequest:
    return TradeRequest(TradeRequest.row(**request))


def text(name: str, value: Any, *, units_max: int = TEXT_UNITS_MAX) -> str:
    """A string within the limit, counted in UTF-16 units."""
    if not isinstance(value, str) or len(value.encode("utf-16-le")) // 2 > units_max:
        raise invalid_argument(name)
    return value


def ticket(name: str, value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < SIGNED:
        raise invalid_argument(name)
    return int(value)


def seconds(ordinal: int, value: Any) -> int:
    """A date as the package reads it: a datetime by `.timestamp()`, cut to signed 32 bits.

    The package skips 0 and then searches with whatever was in memory; here that is a refusal.
    """
    if isinstance(value, datetime):
        value = value.timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float) or value == 0:
        raise invalid(f"Invalid {ORDINALS[ordinal]} unnamed argument")
    return ctypes.c_int32(int(value) & 0xFFFFFFFF).value


def positional(args: tuple[Any, ...], kinds: tuple[Any, ...], *, optional: int = 0) -> None:
    """Count and types of unnamed arguments; the last `optional` may be left out."""
    if not len(kinds) - optional <= len(args) <= len(kinds):
        raise invalid("Invalid number of arguments")
    for ordinal, (value, kind) in enumerate(zip(args, kinds, strict=False)):
        if not isinstance(value, kind):
            raise invalid(f"Invalid {ORDINALS[ordinal]} unnamed argument")


def known(fields: Mapping[str, Any], names: tuple[str, ...]) -> None:
    if fields.keys() - set(names):
        raise invalid("Invalid arguments")


def credentials(fields: dict[str, Any]) -> dict[str, Any]:
    known(fields, ("path", "login", "password", "server", "timeout", "portable"))
    if "login" in fields and not isinstance(fields["login"], int):
        raise invalid_argument("login")
    for name in ("password", "server"):
        if name in fields:
            text(name, fields[name], units_max=CREDENTIAL_UNITS_MAX)
    return {name: fields.get(name) for name in ("login", "password", "server")}


def timeout_seconds(fields: dict[str, Any]) -> float:
    timeout_ms = fields.get("timeout", 60_000)
    if not isinstance(timeout_ms, int) or timeout_ms < 0:
        raise invalid_argument("timeout")
    return timeout_ms / 1000


def choice(args: tuple[Any, ...], fields: dict[str, Any]) -> dict[str, Any]:
    if args:
        raise invalid("Unnamed arguments not allowed")
    known(fields, ("symbol", "group", "ticket"))
    if "ticket" in fields:
        return {"ticket": ticket("ticket", fields["ticket"])}
    return {"symbol": text("symbol", fields["symbol"])} if "symbol" in fields else {}


def dates(args: tuple[Any, ...]) -> dict[str, int]:
    positional(args, (object, object))
    return {"since": seconds(0, args[0]), "until": seconds(1, args[1])}


def history(args: tuple[Any, ...], fields: dict[str, Any]) -> dict[str, Any]:
    """Exactly one of two dates, a ticket, a position."""
    if args:
        known(fields, ("group",))
        return dates(args)
    if fields.keys() not in ({"ticket"}, {"position"}):
        raise invalid("Invalid arguments")
    return {name: ticket(name, value) for name, value in fields.items()}


def group(fields: dict[str, Any]) -> str | None:
    if "group" not in fields or "ticket" in fields or "symbol" in fields:
        return None
    return text("group", fields["group"], units_max=254)


def matches(mask: str, name: str) -> bool:
    """A group mask: parts in order, `*` for any text, `!` for exclusions."""
    chosen = False
    for part in mask.split(","):
        pattern = part.strip()
        if pattern.startswith("!"):
            chosen = chosen and not _like(pattern[1:], name)
        else:
            chosen = chosen or _like(pattern, name)
    return chosen


def _like(pattern: str, name: str) -> bool:
    head, *rest = pattern.split("*")
    if not rest:
        return pattern == name
    if not name.startswith(head) or not name.endswith(rest[-1]):
        return False
    at = len(head)
    for piece in rest[:-1]:
        found = name.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return at <= len(name) - len(rest[-1])


def _integer(name: str, value: Any) -> int:
    low, high = (-SIGNED, SIGNED) if name == "expiration" else (0, UNSIGNED)
    if not isinstance(value, int) or not low <= value < high:
        raise invalid_argument(name)
    return int(value)
