"""What real kills came to, as lines and as a page. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from stack.chaos.verdicts import Violation


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One run: what was done to which program, how long after the order was posted, and how the trade ended."""

    seed: int
    victim: str
    frozen_seconds: float
    after_seconds: float
    state: str

    @property
    def blow(self) -> str:
        return "frozen, then woken" if self.frozen_seconds else "killed"

    def __str__(self) -> str:
        blow = f"frozen for {self.frozen_seconds} s" if self.frozen_seconds else "killed"
        return f"seed {self.seed}: {self.victim} {blow} after {self.after_seconds * 1000:.0f} ms: {self.state}"


def kills_markdown(kills: Sequence[Kill], violations: Sequence[Violation]) -> str:
    states = sorted({kill.state for kill in kills})
    rows = Counter((kill.victim, kill.blow, kill.state) for kill in kills)
    lines = [
        f"| {victim}, {blow} | {' | '.join(str(rows[victim, blow, state]) for state in states)} |"
        for victim, blow in sorted({(kill.victim, kill.blow) for kill in kills})
    ]
    first, last = kills[0].seed, kills[-1].seed
    return "\n".join(
        [
            _PREFACE.format(first=first, runs=len(kills)),
            f"Seeds {first} to {last}: {len(kills)} runs, {len(violations)} breaches.",
            "",
            *(f"- {violation.fault}: {violation.what}" for violation in violations),
            f"| how the trade ended | {' | '.join(states)} |",
            "|---|" + "---|" * len(states),
            *lines,
            "",
        ]
    )


_PREFACE = """\
# Real kills

A whole embedded stack, one market order over REST in each run, and one of its programs killed by the kernel (or
frozen for up to five seconds and woken) within 150 ms of the post; then everything is started again, and the trade
must end. After the last run both sides' books are compared as in the [crash matrix](crash-matrix.md): a breach is
a duplicate, a lost order, a deal unbooked or booked twice, a verdict that the broker's books contradict, or a
broken law.

```sh
nexus chaos --processes --seed {first} --runs {runs} --report docs/kills.md
```

`denied` is an order that could not be sent before its deadline; nothing had left. `rejected` is one whose send was
cut off, and which the broker's lists then proved absent.
"""
