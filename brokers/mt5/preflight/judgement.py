"""What the terminal's answers mean for trading through it. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from brokers.mt5 import filling, mapping
from brokers.mt5.clock import ServerClock
from brokers.mt5.constants import AccountMode, ExecutionNumber, FillingFlag, FillingMode
from brokers.mt5.preflight.report import Finding, failed, ok, skipped
from brokers.mt5.retcodes import retcode_name
from brokers.mt5.zone_watch import TOLERANCE, spoken
from domain.instruments import TradeMode
from domain.watch import CONDITIONS, FindingKind, permission_findings

Struct = Mapping[str, Any]

OPENING = {TradeMode.FULL, TradeMode.LONG_ONLY}
ATTACH_MENDS = {
    -2: "correct MT5_PATH: the full path of terminal64.exe, or HOST:PORT of a bridge",
    -5: "install the newest MetaTrader5 package: it is older than the terminal",
    -6: "log the terminal in by hand and let it save the password",
    -7: "use an account without one-time passwords",
    -8: CONDITIONS[FindingKind.PYTHON_TRADING_OFF],
    -10003: "check MT5_PATH, and that the terminal runs under the same Windows user and rights as this process",
    -10005: "start the terminal by hand, log in, and close every dialog that it shows",
}
ATTACH_MEND = "restart the terminal, and look into the Journal tab of its Toolbox"
PACKAGE_MEND = "install the requirements on 64-bit Windows, or set MT5_TERMINAL=bridge"
REFUSAL_MENDS = {
    10014: "ask the broker which volumes the symbol takes",
    10015: "ask the broker which prices the symbol takes",
    10017: "choose a symbol that the account may trade, with --symbol",
    10018: "try again while the market is open",
    10019: "put money on the demo account",
    10026: CONDITIONS[FindingKind.EXPERT_TRADING_OFF],
    10027: CONDITIONS[FindingKind.ALGO_TRADING_OFF],
    10030: "ask the broker which filling the symbol takes: it refuses what its own flags name",
    10031: CONDITIONS[FindingKind.BROKER_DISCONNECTED],
    10033: "cancel pending orders of the account: it is at its limit",
}


def unattached(code: int, message: str) -> Finding:
    return failed(f"{message} ({code})", mend=ATTACH_MENDS.get(code, ATTACH_MEND))


def terminal(version: Sequence[Any], info: Struct) -> Finding:
    return ok(f"{info['name']} build {version[1]} of {version[2]}, in {info['path'] or 'no folder'}")


def account(shown: Struct, *, login: int, server: str, refusal: str) -> Finding:
    """`refusal` is why the terminal did not log in to the configured account, where it was asked to."""
    if (shown["login"], shown["server"]) != (login, server):
        return failed(
            f"the terminal shows {shown['login']} at {shown['server']}, configured is {login} at {server}"
            + (f"; the login was refused: {refusal}" if refusal else ""),
            mend="log the terminal in by hand to that account, or correct MT5_LOGIN, MT5_SERVER and MT5_PASSWORD",
        )
    return ok(f"{login} at {server}, {mode_of(shown)}, {margin_mode_of(shown)}")


def mode_of(shown: Struct) -> str:
    return mapping.ACCOUNT_TRADE_MODES[shown["trade_mode"]]


def margin_mode_of(shown: Struct) -> str:
    return str(mapping.MARGIN_MODES[shown["margin_mode"]])


def nothing_is_sent(shown: Struct) -> str | None:
    """Why nothing may be sent to this account; None for a demo account."""
    if shown["trade_mode"] == AccountMode.DEMO:
        return None
    return f"account {shown['login']} is a {mode_of(shown)} account, so nothing is sent to it"


def link(info: Struct) -> Finding:
    if not info["connected"]:
        return failed("not connected", mend=CONDITIONS[FindingKind.BROKER_DISCONNECTED])
    return ok(f"connected, last ping {info['ping_last'] / 1000:.1f} ms")


def algo_trading(shown: Struct, info: Struct) -> Finding:
    if not info["connected"]:
        return skipped("without the link the account's switches say nothing")
    findings = permission_findings(mapping.permissions(shown, info))
    if findings:
        off = ", ".join(finding.kind.replace("_", " ") for finding in findings)
        return failed(off, mend="; ".join(finding.message for finding in findings))
    return ok("on in the terminal, for Python, for the account and for programs")


def symbol(name: str, shown: Struct | None, *, similar: Sequence[str]) -> Finding:
    if shown is None:
        near = f": it has {', '.join(similar)}" if similar else ""
        return failed(f"the broker lists no {name}", mend=f"name it as the broker does, with --symbol{near}")
    mode = mapping.TRADE_MODES[shown["trade_mode"]]
    if mode not in OPENING:
        return failed(f"{name} is {mode}", mend="choose a symbol that the account may buy, with --symbol")
    return ok(f"{name}, {shown['description'] or 'without description'}, trade mode {mode}")


def tick(first: Struct, moved: Struct | None, *, waited_seconds: float) -> Finding:
    if moved is None:
        return failed(
            f"bid {first['bid']}, ask {first['ask']}, unchanged for {waited_seconds:.1f} s",
            mend="try again while the market is open, or with a livelier --symbol",
        )
    return ok(f"bid {moved['bid']}, ask {moved['ask']}, moved within {waited_seconds:.2f} s")


def clock_offset(fresh: Struct, now: datetime) -> timedelta:
    """How far the server's clock is ahead of UTC, to the quarter of an hour."""
    quarters = round((fresh["time_msc"] / 1000 - now.timestamp()) / 900)
    return timedelta(minutes=15 * quarters)


def clock(fresh: Struct, *, configured: ServerClock, now: datetime) -> Finding:
    off = configured.to_utc_near(fresh["time_msc"], now) - now
    seen = f"UTC{spoken_offset(clock_offset(fresh, now))}, configured is {configured.zone}"
    if abs(off) > TOLERANCE:
        mend = CONDITIONS[FindingKind.CLOCK_MISMATCH]
        return failed(f"{seen}: the server is {spoken(off)} of that", mend=mend)
    return ok(f"{seen}, {off.total_seconds():+.1f} s from it")


def spoken_offset(offset: timedelta) -> str:
    minutes = round(offset.total_seconds() / 60)
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


def fillings(shown: Struct) -> Finding:
    market = filling.candidates(shown, pending=False, wanted=None)
    pending = filling.candidates(shown, pending=True, wanted=None)
    return ok(
        f"flags {flags_of(shown)}, execution {execution_of(shown)}; "
        f"market orders go {spoken_modes(market)}, pending ones {spoken_modes(pending)}"
    )


def flags_of(shown: Struct) -> str:
    flags = FillingFlag(shown["filling_mode"])
    return "+".join(str(flag.name) for flag in FillingFlag if flag in flags) or "none"


def execution_of(shown: Struct) -> str:
    return ExecutionNumber(shown["trade_exemode"]).name.lower()


def spoken_modes(modes: Sequence[int]) -> str:
    return ", then ".join(FillingMode(mode).name for mode in modes)


def order_check(result: Struct, *, volume: float, mode: int) -> Finding:
    if result["retcode"] != 0:
        return refusal(result)
    left = f"margin {result['margin']}, free after it {result['margin_free']}"
    return ok(f"{volume} lots with {FillingMode(mode).name} would be taken: {left}")


def refusal(result: Struct) -> Finding:
    code = result["retcode"]
    seen = f"{code} {retcode_name(code)}: {result['comment'] or 'without comment'}"
    return failed(seen, mend=REFUSAL_MENDS.get(code, "ask the broker what it has against this order"))


def lists(sizes: Mapping[str, int], *, before: int, after: int, unknown: Sequence[int]) -> Finding:
    """`before` and `after` count all deals of the account; `unknown` are open positions that no deal explains."""
    seen = ", ".join(f"{count} {name}" for name, count in sizes.items()) + f"; {after} deals in all"
    if before != after:
        return failed(f"{seen}, {before} a moment ago", mend="wait until the terminal has loaded its history")
    if not after:
        return failed(
            f"{seen}: not even a deposit", mend="open the terminal's History tab, choose All History, and wait"
        )
    if unknown:
        told = ", ".join(map(str, unknown))
        return failed(
            f"{seen}; history lacks positions {told}", mend="wait until the terminal has loaded its history"
        )
    return ok(f"{seen}, in sync")


def symbol_card(shown: Struct) -> dict[str, Any]:
    return {
        "name": shown["name"],
        "digits": shown["digits"],
        "contract_size": shown["trade_contract_size"],
        "volume_min": shown["volume_min"],
        "volume_step": shown["volume_step"],
        "volume_max": shown["volume_max"],
        "stops_level": shown["trade_stops_level"],
        "freeze_level": shown["trade_freeze_level"],
        "execution": execution_of(shown),
        "fillings": flags_of(shown),
    }
