"""`python -m brokers.simulator`: run the simulated terminal until SIGINT or SIGTERM."""

import argparse
import asyncio
import signal
import sys
from datetime import timedelta, timezone, tzinfo
from decimal import Decimal, InvalidOperation
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from brokers.simulator.account import AccountTerms, MarginMode
from brokers.simulator.chaos import Chaos
from brokers.simulator.clock import ServerClock
from brokers.simulator.feed import Feed
from brokers.simulator.recordings import BadRecording, RecordedTick, read_recording
from brokers.simulator.server import Server
from brokers.simulator.store import StateUnusable, Store
from brokers.simulator.symbols import SYMBOLS
from brokers.simulator.terminal import StateMismatch, Terminal


class CannotStart(Exception):
    """The terminal cannot run as asked; the message is one line for the person who started it."""


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        asyncio.run(_run(options))
    except (CannotStart, BadRecording, StateUnusable, StateMismatch) as error:
        sys.stderr.write(f"simulated terminal: {error}\n")
        return 1
    return 0


async def _run(options: argparse.Namespace) -> None:
    recording = read_recording(options.ticks) if options.ticks is not None else None
    terms, clock = _terms(options), ServerClock(zone=_zone(options))
    store = Store(options.state)
    try:
        terminal = Terminal(terms, store, clock, deposit=options.balance)
        await _serve(terminal, recording, options)
    finally:
        store.close()


async def _serve(terminal: Terminal, recording: list[RecordedTick] | None, options: argparse.Namespace) -> None:
    feed = Feed(terminal, seed=options.seed, interval_seconds=options.tick_interval_ms / 1000)
    if recording is not None:
        feed.replay(options.symbol, recording, speed=options.speed)
    server = Server(terminal, feed)
    try:
        listener = await server.listen(options.host, options.port)
    except OSError as error:
        raise CannotStart(f"cannot listen on {options.host}:{options.port}: {error.strerror}") from error
    if options.chaos:
        terminal.faults.chaos = Chaos(options.chaos_seed, dict(options.chaos))
    feed.open()
    ticking = asyncio.create_task(feed.run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ticking.cancel)
    port = listener.sockets[0].getsockname()[1]
    sys.stdout.write(f"simulated terminal ready on {options.host}:{port}\n")
    sys.stdout.flush()
    try:
        await ticking
    except asyncio.CancelledError:
        pass  # a signal asked us to stop
    finally:
        listener.close()
        for link in list(server.links):
            link.close()


def _terms(options: argparse.Namespace) -> AccountTerms:
    password = options.password
    if options.password_file is not None:
        try:
            password = options.password_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise CannotStart(f"--password-file: {error}") from error
    return AccountTerms(
        login=options.login,
        password=password,
        server=options.server,
        currency=options.currency,
        leverage=options.leverage,
        margin_mode=MarginMode(options.margin_mode),
    )


def _zone(options: argparse.Namespace) -> tzinfo:
    if options.time_zone is None:
        return timezone(timedelta(hours=options.utc_offset_hours))
    try:
        return ZoneInfo(options.time_zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise CannotStart(f"--time-zone: no such zone: {options.time_zone}") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m brokers.simulator", description="A simulated MetaTrader 5 terminal."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=18813, help="0 takes a free one")
    parser.add_argument("--state", type=Path, required=True, help="SQLite file that keeps the books")
    market = parser.add_argument_group("market")
    market.add_argument("--ticks", type=Path, help="recorded quotes to replay for --symbol")
    market.add_argument("--symbol", choices=[symbol.name for symbol in SYMBOLS], default="EURUSD")
    market.add_argument("--speed", type=_positive, default=1.0, help="how many times faster than recorded")
    market.add_argument("--seed", type=int, default=1, help="of the generated ticks")
    market.add_argument("--tick-interval-ms", type=_positive, default=100.0)
    account = parser.add_argument_group("account")
    account.add_argument("--login", type=int, default=50001)
    account.add_argument("--server", default="Simulated-Demo")
    account.add_argument("--margin-mode", choices=[mode.value for mode in MarginMode], default="hedging")
    account.add_argument("--balance", type=_amount, default=Decimal(100_000), help="of the first deposit")
    account.add_argument("--currency", choices=["USD", "EUR", "GBP", "JPY"], default="USD")
    account.add_argument("--leverage", type=int, default=100)
    chance = parser.add_argument_group("faults by chance")
    chance.add_argument("--chaos-seed", type=int, default=1)
    chance.add_argument(
        "--chaos", type=_rate, action="append", metavar="FAULT=RATE", help="such as answer_lost=0.05, repeatable"
    )
    secret = account.add_mutually_exclusive_group()
    secret.add_argument("--password", help="without one, any password is taken")
    secret.add_argument("--password-file", type=Path)
    clock = parser.add_argument_group("clock").add_mutually_exclusive_group()
    clock.add_argument("--utc-offset-hours", type=float, default=2.0)
    clock.add_argument("--time-zone", help="such as Europe/Athens")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above zero")
    return value


def _rate(text: str) -> tuple[str, float]:
    name, _, share = text.partition("=")
    try:
        rate = float(share)
        Chaos(0, {name: rate})
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return name, rate


def _amount(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise argparse.ArgumentTypeError(f"{text} is no amount") from error
    if not value.is_finite() or value < 0:
        raise argparse.ArgumentTypeError(f"{text} is no amount")
    return value


if __name__ == "__main__":
    sys.exit(main())
