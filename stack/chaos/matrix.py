"""The crash matrix: what was run, where the blow fell, how the trades ended, which seeds broke a law. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from stack.chaos.cells import CELLS, Step
from stack.chaos.rehearsal import Outcome
from stack.chaos.verdicts import Fault

COUNTED = (Fault.DUPLICATE, Fault.LOST, Fault.UNBOOKED, Fault.BOOKED_WRONG, Fault.FALSE_VERDICT)
OTHERS = (Fault.UNDECIDED, Fault.LAW, Fault.DEFECT)
FAILURES_SHOWN = 50


@dataclass(kw_only=True)
class Tally:
    """Counts only, so that ten thousand runs weigh nothing."""

    first_seed: int
    runs: int = 0
    struck: Counter[tuple[Step, str]] = field(default_factory=Counter)
    played: Counter[tuple[Step, str]] = field(default_factory=Counter)
    states: Counter[tuple[Step, str]] = field(default_factory=Counter)
    faults: Counter[Fault] = field(default_factory=Counter)
    failing: dict[int, Outcome] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        place = (outcome.cell.step, outcome.cell.befalls)
        self.runs += 1
        self.played[place] += 1
        self.struck[place] += outcome.struck
        for state in outcome.states:
            self.states[outcome.cell.step, state] += 1
        # One run counts once for each kind of fault, however many records show it.
        self.faults.update({violation.fault for violation in outcome.violations})
        if outcome.violations:
            self.failing[outcome.seed] = outcome

    def verdict(self) -> str:
        counted = ", ".join(f"{self.faults[fault]} {fault}" for fault in (*COUNTED, *OTHERS))
        return f"{self.runs} runs: {counted}"


def markdown(tally: Tally, *, minutes: float, machine: str) -> str:
    last = tally.first_seed + tally.runs - 1
    struck, placed = sum(tally.struck.values()), tally.runs
    return "\n".join(
        [
            _PREFACE.format(first=tally.first_seed, last=last, cells=len(CELLS), runs=tally.runs),
            "## Result",
            f"Seeds {tally.first_seed} to {last}, {minutes:.0f} minutes on {machine}. Runs with at least one:",
            "",
            "| | runs |",
            "|---|---|",
            *(f"| {fault} | {tally.faults[fault]} |" for fault in (*COUNTED, *OTHERS)),
            "",
            f"The blow fell in {struck} of {placed} runs; in the others the trade ended before its step came.",
            "",
            *_failures(tally),
            "## Runs by step and blow",
            "Runs in which the blow fell. A dash marks what cannot befall the step.",
            "",
            *_table(tally),
            "",
            "## How the trades ended",
            "",
            *_states(tally),
            "",
        ]
    )


def _failures(tally: Tally) -> Iterable[str]:
    if not tally.failing:
        return
    yield "Seeds that broke something:"
    yield ""
    for seed, outcome in sorted(tally.failing.items())[:FAILURES_SHOWN]:
        told = "; ".join(f"{violation.fault}: {violation.what}" for violation in outcome.violations)
        yield f"- {seed} ({outcome.cell.step}, {outcome.cell.befalls}): {told}"
    yield ""


def _table(tally: Tally) -> Iterable[str]:
    steps = list(Step)
    rows: dict[str, dict[Step, str]] = defaultdict(dict)
    for cell in CELLS:
        rows[cell.befalls][cell.step] = str(tally.struck[cell.step, cell.befalls])
    yield f"| | {' | '.join(steps)} |"
    yield "|---|" + "---|" * len(steps)
    for befalls, counts in rows.items():
        yield f"| {befalls} | {' | '.join(counts.get(step, '-') for step in steps)} |"


def _states(tally: Tally) -> Iterable[str]:
    names = sorted({state for _, state in tally.states})
    yield f"| step | {' | '.join(names)} |"
    yield "|---|" + "---|" * len(names)
    for step in Step:
        yield f"| {step} | {' | '.join(str(tally.states[step, name]) for name in names)} |"


_PREFACE = """\
# Crash matrix

Every step of a trade's life, met by everything that can befall it: the worker killed before, within and after the
step or inside a single call of the terminal, the step run twice at once, delayed, its process frozen and woken
after another took over, the books away or a commit's answer lost, the workflow reset, wrong answers, and every
fault of [the simulated terminal](simulator.md). In four runs of ten foul weather comes on top: faults by chance on
all calls, and any process may be killed at any point.

After each run the weather clears, and our books are compared with the broker's own, deal by deal: no second order,
no lost one, no deal unbooked or booked twice, no verdict that the broker's books contradict; every trade is
decided, and all ten laws of `nexus verify` hold.

```sh
nexus chaos --seed {first} --runs {runs} --report docs/crash-matrix.md  # this page
nexus chaos --seed 4711 --runs 1 --trace  # one run, every step of it
```

There are {cells} cells; seed `s` plays cell `s mod {cells}`, so the seeds of a cell are known, and any {cells}
seeds in a row play all of them. The same seed is the same run, to the last step, on any machine.

What runs is the product's own code: the workflow under the SDK's own runner, with its local activities, retries,
timeouts and replays, every activity, the adapter and its session at the terminal, on a real PostgreSQL; and the
simulated terminal with its own books. What stands in is what would cost real time: the Temporal server (a few
hundred lines that keep history, timers and attempts on a virtual clock) and the processes, which take turns
between transactions and between calls. Real processes under a real Temporal server, killed by the kernel, are
`nexus chaos --processes` and the tests in `tests/e2e`.
"""
