"""`python -m benchmarks`: measure the embedded stack against its floor, in the same minutes."""

import argparse
import json
import sys
import tempfile
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from temporalio.client import Client

from benchmarks import report
from benchmarks.audit import measure_audit
from benchmarks.direct import direct_desk
from benchmarks.durable import durable_desk
from benchmarks.embedded import Embedded, embedded_stack
from benchmarks.reconciliation import measure_reconciliations
from benchmarks.reservations import measure_reservations
from benchmarks.rest import rest_caller
from benchmarks.stops import measure_stops, presser_of
from benchmarks.trades import compare_trades
from benchmarks.ways import BenchFailed
from stack.errors import StackError

ROWS = ("trades", "reservations", "stops", "reconciliations", "audit")


def main(argv: list[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    console = Console()
    try:
        found = uvloop.run(measure(options, console))
    except (BenchFailed, StackError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    console.print(f"written to {options.json}")
    return 0


async def measure(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Run the chosen rows on one stack; what they found, as the JSON file gets it."""
    found: dict[str, Any] = {"at": options.date, "machine": report.machine()}
    with tempfile.TemporaryDirectory(prefix="nexus-bench-") as folder:
        console.print("starting the embedded stack")
        async with embedded_stack(Path(folder)) as embedded:
            if "trades" in options.rows:
                found["trades"] = await _trades(embedded, options, console)
            if "reservations" in options.rows:
                found["reservations"] = await _reservations(embedded, options, console)
            if "stops" in options.rows:
                found["stops"] = await _stops(embedded, options, console)
            if "reconciliations" in options.rows:
                found["reconciliations"] = await _reconciliations(embedded, options, console)
            if "audit" in options.rows:
                console.print(f"{options.audit_rows} rows of the audit record, sealed and checked")
                taken = await measure_audit(embedded, rows=options.audit_rows)
                console.print(report.audit_table(taken))
                found["audit"] = vars(taken)
    return found


async def _trades(embedded: Embedded, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    console.print(f"{options.trades} market orders in each of three ways, in {options.rounds} rounds")
    client = await Client.connect(embedded.plan.temporal_address)
    async with AsyncExitStack() as stack:
        floor = await stack.enter_async_context(direct_desk(embedded, client, "floor"))
        under_dbos = await stack.enter_async_context(direct_desk(embedded, client, "dbos"))
        durable = await stack.enter_async_context(durable_desk(embedded, under_dbos))
        rest = await stack.enter_async_context(rest_caller(embedded))
        ways = await compare_trades([rest, durable, floor], trades=options.trades, rounds=options.rounds)
    bottom = next(taken for taken in ways if taken.name == floor.name)
    console.print(report.trades_tables(ways, floor=bottom, steps=floor.steps))
    return report.trades_json(ways, floor=bottom, steps=floor.steps)


async def _reservations(embedded: Embedded, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    console.print(f"{options.reservations} reservations and a burst in each of {options.rounds} rounds")
    client = await Client.connect(embedded.plan.temporal_address)
    owner, pipeline = embedded.engine("owner", pool_size=1), embedded.engine("pipeline", pool_size=1)
    try:
        async with direct_desk(embedded, client, "reserving") as desk:
            taken = await measure_reservations(
                desk,
                owner=owner,
                pipeline=pipeline,
                bare_url=embedded.database_url("pipeline").replace("+asyncpg", ""),
                count=options.reservations,
                rounds=options.rounds,
            )
    finally:
        await owner.dispose()
        await pipeline.dispose()
    console.print(report.reservations_tables(taken))
    return report.reservations_json(taken)


async def _stops(embedded: Embedded, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    console.print(f"{options.stops} stops that flatten in each of {options.rounds} rounds")
    client = await Client.connect(embedded.plan.temporal_address)
    async with direct_desk(embedded, client, "stopping") as desk, presser_of(embedded) as presser:
        taken = await measure_stops(
            presser,
            desk,
            bare_url=embedded.database_url("owner").replace("+asyncpg", ""),
            count=options.stops,
            rounds=options.rounds,
        )
    console.print(report.stops_tables(taken))
    return report.stops_json(taken)


async def _reconciliations(embedded: Embedded, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    console.print(
        f"{options.reconciliations} reconciliations of many positions in each of {options.rounds} rounds"
    )
    client = await Client.connect(embedded.plan.temporal_address)
    taken = await measure_reconciliations(
        embedded, client, positions=options.positions, count=options.reconciliations, rounds=options.rounds
    )
    console.print(report.reconciliations_table(taken))
    return report.reconciliations_json(taken)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.partition(":")[2].strip())
    parser.add_argument("--trades", type=_count, default=150, help="market orders in each way, over all rounds")
    parser.add_argument("--reservations", type=_count, default=40, help="reservations in each round")
    parser.add_argument("--stops", type=_count, default=3, help="stops in each round")
    parser.add_argument("--reconciliations", type=_count, default=5, help="reconciliations in each round")
    parser.add_argument("--positions", type=_count, default=10_000, help="positions in each reconciliation")
    parser.add_argument("--audit-rows", type=_count, default=50_000, help="rows of the audit record")
    parser.add_argument("--rounds", type=_count, default=6)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="where to write the numbers")
    parser.add_argument("--date", default=datetime.now(UTC).date().isoformat(), help="the date in the file")
    return parser


def _count(word: str) -> int:
    count = int(word)
    if count < 1:
        raise argparse.ArgumentTypeError(f"{word} is not above zero")
    return count


if __name__ == "__main__":
    sys.exit(main())
