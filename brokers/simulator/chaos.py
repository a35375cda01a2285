"""Faults drawn by chance, as a function of the seed and of the calls alone.

The n-th call of one kind meets the same faults under the same seed, whatever other calls come between, and the
rate of one fault does not move the draws of another.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fnmatch import fnmatchcase
from random import Random

from brokers.simulator import constants as mt5
from brokers.simulator import faults
from brokers.simulator.fault_wire import KINDS
from brokers.simulator.faults import ORDER_SEND, Aftermath, Fault, Outcome, QueryFailure, ViewFault

MONEY_KINDS = ("balance", "credit", "charge", "correction", "bonus", "interest")
REFUSALS = (
    mt5.TRADE_RETCODE_REQUOTE,
    mt5.TRADE_RETCODE_REJECT,
    mt5.TRADE_RETCODE_PRICE_CHANGED,
    mt5.TRADE_RETCODE_PRICE_OFF,
    mt5.TRADE_RETCODE_TOO_MANY_REQUESTS,
    mt5.TRADE_RETCODE_LOCKED,
)


def _coin(rng: Random) -> bool:
    return rng.random() < 0.5


def _cents(rng: Random, most: int) -> Decimal:
    return Decimal(rng.randint(-most, most)) / 100


DRAWS: dict[type[Fault], Callable[[Random], Fault]] = {
    faults.Delay: lambda rng: faults.Delay(ms=rng.randint(1, 400)),
    faults.AnswerLost: lambda rng: faults.AnswerLost(executed=_coin(rng)),
    faults.PipeDead: lambda _: faults.PipeDead(),
    faults.PipeStuck: lambda _: faults.PipeStuck(),
    faults.OutOfStep: lambda rng: faults.OutOfStep(executed=_coin(rng)),
    faults.Hang: lambda rng: faults.Hang(executed=_coin(rng)),
    faults.Crash: lambda rng: faults.Crash(executed=_coin(rng)),
    faults.QueryFailure: lambda rng: faults.QueryFailure(
        code=rng.choice((mt5.RES_E_FAIL, mt5.RES_E_NO_MEMORY)), executed=_coin(rng)
    ),
    faults.Reject: lambda rng: faults.Reject(retcode=rng.choice(REFUSALS)),
    faults.AlgoOff: lambda rng: faults.AlgoOff(by_option=_coin(rng)),
    faults.Timeout: lambda rng: faults.Timeout(
        executed=_coin(rng), after_ms=rng.choice((0, rng.randint(1, 1500)))
    ),
    faults.NoLink: lambda rng: faults.NoLink(executed=_coin(rng), after_ms=rng.choice((0, rng.randint(1, 1500)))),
    faults.Placed: lambda rng: faults.Placed(
        after_ms=rng.randint(1, 1500),
        parts=rng.randint(1, 3),
        fraction=rng.choice((Decimal(1), Decimal(1), Decimal("0.5"), Decimal(0))),
        rejected=_coin(rng),
    ),
    faults.DoneLater: lambda rng: faults.DoneLater(after_ms=rng.randint(1, 1500)),
    faults.Partial: lambda rng: faults.Partial(fraction=Decimal(rng.randint(1, 9)) / 10),
    faults.ListGap: lambda rng: faults.ListGap(ms=rng.randint(1, 1500)),
    faults.HistoryLag: lambda rng: faults.HistoryLag(ms=rng.randint(1, 3000)),
    faults.CommentRewritten: lambda rng: faults.CommentRewritten(text=rng.choice(("", "Request executed"))),
    faults.LateCommission: lambda rng: faults.LateCommission(after_ms=rng.randint(1, 3000), linked=_coin(rng)),
    faults.ExitMagicLost: lambda _: faults.ExitMagicLost(),
    faults.ManualTrade: lambda rng: faults.ManualTrade(side=rng.choice(("buy", "sell"))),
    faults.ManualClose: lambda _: faults.ManualClose(),
    faults.StopOut: lambda _: faults.StopOut(),
    faults.SwapCharged: lambda rng: faults.SwapCharged(nights=rng.choice((1, 3))),
    faults.MoneyBooked: lambda rng: faults.MoneyBooked(money=rng.choice(MONEY_KINDS), amount=_cents(rng, 10_000)),
    faults.DealBusted: lambda _: faults.DealBusted(),
    faults.DealAmended: lambda rng: faults.DealAmended(commission=-abs(_cents(rng, 1000))),
    faults.ClockStepped: lambda rng: faults.ClockStepped(hours=rng.choice((-1, 1))),
    faults.AccountSwitched: lambda rng: faults.AccountSwitched(ms=rng.randint(1, 1000)),
    faults.TerminalRestarted: lambda rng: faults.TerminalRestarted(
        down_ms=rng.randint(0, 500), sync_ms=rng.randint(0, 1500)
    ),
    faults.LinkLost: lambda rng: faults.LinkLost(ms=rng.randint(1, 1000), sync_ms=rng.randint(0, 1500)),
    faults.HistoryStale: lambda rng: faults.HistoryStale(ms=rng.randint(1, 1500)),
}


@dataclass(frozen=True, slots=True)
class Rate:
    """How often a fault befalls the calls of `op`, a name or a pattern; None means its own calls."""

    kind: type[Fault]
    op: str | None
    share: float

    def fits(self, op: str) -> bool:
        if self.op is not None:
            return fnmatchcase(op, self.op)
        return (op == ORDER_SEND) != (self.kind is QueryFailure)


class Chaos:
    """Draws faults at the given rates: `answer_lost`, or `answer_lost@positions_get`, to a share from 0 to 1.

    A fault without a call is drawn for `order_send`, and `query_failure` for every query.
    """

    def __init__(self, seed: int, rates: Mapping[str, float]) -> None:
        """Raises ValueError for an unknown fault, a share out of range, or an order's fate on a query."""
        self._seed = seed
        self._rates = {name: _rate(name, share) for name, share in sorted(rates.items())}
        self._calls: Counter[str] = Counter()

    def draw(self, op: str) -> list[Fault]:
        self._calls[op] += 1
        drawn = []
        for name, rate in self._rates.items():
            if rate.fits(op):
                rng = Random(f"{self._seed}:{op}:{self._calls[op]}:{name}")  # noqa: S311 # repeatable, not secret
                if rng.random() < rate.share:
                    drawn.append(DRAWS[rate.kind](rng))
        return drawn


def _rate(name: str, share: float) -> Rate:
    kind_name, at, op = name.partition("@")
    kind = KINDS.get(kind_name)
    if kind is None:
        raise ValueError(f"no such fault: {kind_name!r}, known are {', '.join(KINDS)}")
    if not 0 <= share <= 1:
        raise ValueError(f"{name}: {share} is no share between 0 and 1")
    sends_only = issubclass(kind, Outcome | Aftermath) and not issubclass(kind, ViewFault)
    if at and op != ORDER_SEND and sends_only:
        raise ValueError(f"{name}: only {ORDER_SEND} sends an order")
    return Rate(kind, op if at else None, share)
