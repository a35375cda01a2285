"""`nexus chaos`: the crash matrix, from one seed in every detail to ten thousand for the record."""

import asyncio
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from stack.chaos.kills import Kill, kills_markdown
from stack.chaos.matrix import Tally, markdown
from stack.chaos.processes import household
from stack.chaos.rehearsal import Outcome
from stack.chaos.runs import cores, play, play_all, rehearsal_server
from stack.chaos.verdicts import Violation
from stack.errors import StackError

# A log has no bar to watch: a line about once a minute on two cores.
RUNS_PER_LINE = 500

app = typer.Typer()


@app.command()
def chaos(
    *,
    seed: Annotated[int, typer.Option(min=0, help="The first seed; the same seed is the same run.")] = 0,
    runs: Annotated[int, typer.Option(min=1, help="How many seeds, one after the other.")] = 387,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes.", show_default="one per core")] = None,
    report: Annotated[Path | None, typer.Option(help="Write the matrix to this Markdown file.")] = None,
    trace: Annotated[bool, typer.Option("--trace", help="Show every step of each run; for few runs.")] = False,
    processes: Annotated[
        bool, typer.Option("--processes", help="Kill the programs of a whole stack; seconds for each run.")
    ] = False,
) -> None:
    """Play a trade under each seed's blow and judge the books; exits with 1 if any law was broken.

    Needs nothing that runs: it starts what it needs in a temporary folder and ends it.
    """
    if report is not None and not report.parent.is_dir():
        raise StackError(f"--report: there is no folder {report.parent}")
    seeds = range(seed, seed + runs)
    console = Console(soft_wrap=True, highlight=False)
    if processes:
        _show_kills(*asyncio.run(_killed(seeds, console)), console, report)
        return
    tally = Tally(first_seed=seed)
    started = time.monotonic()
    if trace:
        asyncio.run(_traced(seeds, tally, console))
    else:
        asyncio.run(_counted(seeds, tally, console, jobs=jobs or cores()))
    minutes = (time.monotonic() - started) / 60
    console.print(tally.verdict())
    if report is not None:
        machine = f"{cores()} cores, {platform.system()}, Python {platform.python_version()}"
        report.write_text(markdown(tally, minutes=minutes, machine=machine))
        console.print(f"the matrix is in {report}")
    if tally.failing:
        raise typer.Exit(1)


async def _traced(seeds: range, tally: Tally, console: Console) -> None:
    async with rehearsal_server() as admin_url:
        for seed in seeds:
            (outcome,) = await play(admin_url, [seed], traced=True)
            tally.add(outcome)
            for line in outcome.trace:
                console.print(line)
            _tell(outcome, console)


async def _counted(seeds: range, tally: Tally, console: Console, *, jobs: int) -> None:
    columns = (TextColumn("runs"), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    async with rehearsal_server() as admin_url:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            bar = progress.add_task("runs", total=len(seeds))
            async for outcome in play_all(admin_url, seeds, jobs=jobs):
                tally.add(outcome)
                progress.advance(bar)
                if not console.is_terminal and tally.runs % RUNS_PER_LINE == 0:
                    console.print(f"{tally.runs} of {len(seeds)} runs")
                if outcome.violations:
                    _tell(outcome, console)


async def _killed(seeds: range, console: Console) -> tuple[list[Kill], list[Violation]]:
    kills = []
    async with household() as stack:
        for seed in seeds:
            kills.append(await stack.run(seed))
            console.print(str(kills[-1]))
        violations = await stack.judge()
    return kills, violations


def _show_kills(
    kills: Sequence[Kill], violations: Sequence[Violation], console: Console, report: Path | None
) -> None:
    for violation in violations:
        console.print(f"{violation.fault}: {violation.what}")
    console.print(f"{len(kills)} runs, {len(violations)} breaches")
    if report is not None:
        report.write_text(kills_markdown(kills, violations))
        console.print(f"the table is in {report}")
    if violations:
        raise typer.Exit(1)


def _tell(outcome: Outcome, console: Console) -> None:
    states = ", ".join(outcome.states) or "no trade"
    console.print(f"seed {outcome.seed}: {outcome.cell.step}, {outcome.cell.befalls}: {states}")
    for violation in outcome.violations:
        console.print(f"  {violation.fault}: {violation.what}")
