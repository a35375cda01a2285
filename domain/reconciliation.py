"""Reconciliation: what differs between the books and the broker, and what follows from what nobody can explain.

1. Both sides are walked: what only one of them has differs as much as what both have and show differently.
2. What is in flight, or moved a moment ago, is kept out; a second reading confirms what is left.
3. Money is measured once, by the balance; positions by the value of the lots that differ. Nothing cancels: each
   position and each sum counts by its size alone.
4. What has no rate to US dollars counts as beyond every bound.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from uuid import UUID, uuid5

from domain.money import ZERO, Lots, Price

# Half of the smallest unit of money: a broker keeps more digits than it shows.
ROUNDING = Decimal("0.005")


class DifferenceKind(StrEnum):
    """What differs. All but the two sums of money are symptoms: their cause is a record that is still missing."""

    BALANCE = "balance"
    CREDIT = "credit"
    EQUITY = "equity"
    POSITION_UNKNOWN = "position_unknown"
    POSITION_MISSING = "position_missing"
    POSITION_VOLUME = "position_volume"
    POSITION_PRICE = "position_price"
    ORDER_UNKNOWN = "order_unknown"
    ORDER_MISSING = "order_missing"


MONEY = frozenset({DifferenceKind.BALANCE, DifferenceKind.CREDIT})
POSITIONS = frozenset(
    {DifferenceKind.POSITION_UNKNOWN, DifferenceKind.POSITION_MISSING, DifferenceKind.POSITION_VOLUME}
)


class Cause(StrEnum):
    """Why something changed that the books did not make happen: each is proven by a record of the broker."""

    MISSED_FILL = "missed_fill"
    STOP_LOSS_EXIT = "stop_loss_exit"
    TAKE_PROFIT_EXIT = "take_profit_exit"
    STOP_OUT_EXIT = "stop_out_exit"
    MANUAL_TRADE = "manual_trade"
    ROLLOVER = "rollover"
    SWAP = "swap"
    COMMISSION = "commission"
    FEE = "fee"
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    CREDIT = "credit"
    CORRECTION = "correction"
    OTHER_MONEY = "other_money"
    LATE_DEAL = "late_deal"
    OPENING = "opening"


class RunCause(StrEnum):
    """Why a run was made."""

    SCHEDULE = "schedule"
    STARTUP = "startup"
    RECONNECT = "reconnect"
    REQUEST = "request"


class Tier(StrEnum):
    CORRECT = "correct"
    REVIEW = "review"
    STOP = "stop"


class Verdict(StrEnum):
    """How a run ended. `inconclusive` changed nothing: a reading failed, or the books moved on meanwhile."""

    CLEAN = "clean"
    EXPLAINED = "explained"
    WAITING = "waiting"
    CORRECTED = "corrected"
    REVIEW = "review"
    STOPPED = "stopped"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """In US dollars: below `review` money is corrected, beyond `stop` trading stops."""

    review: Decimal = Decimal(100)
    stop: Decimal = Decimal(500)

    def tier(self, kind: DifferenceKind, impact: Decimal | None, *, corrected_today: Decimal = ZERO) -> Tier:
        """What follows from an unexplained difference; small corrections of one day add up."""
        if kind not in MONEY and kind not in POSITIONS:
            # What these are worth is not known before somebody has looked, and no money is missing.
            return Tier.REVIEW
        if impact is None:
            return Tier.STOP
        whole = impact + corrected_today if kind in MONEY else impact
        if whole > self.stop:
            return Tier.STOP
        return Tier.CORRECT if kind in MONEY and whole < self.review else Tier.REVIEW


@dataclass(frozen=True, kw_only=True)
class Held:
    """A position on one side: signed lots, and the price at which it was opened, None where that is not known."""

    symbol: str
    lots: Decimal
    price: Price | None


@dataclass(frozen=True, kw_only=True)
class Side:
    """The account as one side has it. `orders` are the working orders that are ours, by the broker's number."""

    balance: Decimal
    credit: Decimal
    positions: Mapping[int, Held]
    orders: Mapping[int, str]


@dataclass(frozen=True, kw_only=True)
class Moving:
    """What is in flight, or moved within the quiet period: kept out of the comparison.

    `money` says that the balance may move with it.
    """

    positions: frozenset[int] = frozenset()
    orders: frozenset[int] = frozenset()
    money: bool = False


@dataclass(frozen=True, kw_only=True)
class Worth:
    """`lots` is what one lot of a symbol is worth, `money` one unit of the account, both in US dollars.

    `ticks` are the price steps below which two prices of a symbol are the same.
    """

    lots: Mapping[str, Decimal]
    money: Decimal | None
    ticks: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What each side has (None for nothing), and what the difference is worth in US dollars (None: no rate).

    `rate` is what one lot of it, or one unit of the account's money, is worth.
    """

    kind: DifferenceKind
    subject: str
    symbol: str = ""
    number: int | None = None
    ours: Decimal | None
    theirs: Decimal | None
    impact: Decimal | None
    rate: Decimal | None = None
    told: str = ""

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.subject}"

    @property
    def shown(self) -> tuple[str, Decimal | None, Decimal | None]:
        """What differs and how: equal as long as neither side has moved, by more than prices do."""
        if self.kind is DifferenceKind.EQUITY:
            return self.key, None, self.amount
        return self.key, self.ours, self.theirs

    @property
    def amount(self) -> Decimal:
        """What the broker has more than the books."""
        return (self.theirs or ZERO) - (self.ours or ZERO)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """`found` is to be acted on, `kept_out` is in motion and looked at again by the next run."""

    found: tuple[Difference, ...]
    kept_out: tuple[Difference, ...]


def compare(ours: Side, theirs: Side, *, moving: Moving, worth: Worth) -> Compared:
    """Every difference between the two sides; those of what is moving are kept out."""
    differences = [*_money(ours, theirs, worth), *_positions(ours, theirs, worth), *_orders(ours, theirs)]
    kept_out = {each.key for each in differences if _moves(each, moving)}
    return Compared(
        found=tuple(each for each in differences if each.key not in kept_out),
        kept_out=tuple(each for each in differences if each.key in kept_out),
    )


def confirmed(first: Iterable[Difference], second: Iterable[Difference]) -> tuple[Difference, ...]:
    """Those of the second reading that the first one had as well, to the cent and to the lot."""
    known = {each.key: each.amount for each in first}
    return tuple(each for each in second if known.get(each.key) == each.amount)


def equity_gap(
    *, balance: Decimal, credit: Decimal, floating: Decimal, equity: Decimal, worth: Worth
) -> Difference:
    """How far the equity lies from what its parts add up to: prices move while it is read, so only a hint."""
    expected = balance + credit + floating
    return Difference(
        kind=DifferenceKind.EQUITY,
        subject="equity",
        ours=expected,
        theirs=equity,
        impact=_dollars(equity - expected, worth.money),
        rate=worth.money,
        told=f"balance, credit and open profit add up to {expected}, the broker shows {equity}",
    )


def discrepancy_id(run_id: UUID, difference: Difference) -> UUID:
    """What a run finds first has its id from the run; a difference that comes again later is another one."""
    return uuid5(run_id, f"discrepancy:{difference.key}")


def correction_id(account_id: UUID, difference: Difference, *, watermark: int) -> UUID:
    """The id of the ledger event that corrects it: over the same books, the same difference is corrected once."""
    sides = ["-" if side is None else f"{side.normalize():f}" for side in (difference.ours, difference.theirs)]
    return uuid5(account_id, f"correction:{watermark}:{difference.key}:{':'.join(sides)}")


def acceptance_id(discrepancy: UUID) -> UUID:
    """The id of the ledger event by which a person's word enters a discrepancy into the books."""
    return uuid5(discrepancy, "acceptance")


def taken_back_id(event: UUID) -> UUID:
    """The id of the ledger event that takes a correction back."""
    return uuid5(event, "taken back")


def _money(ours: Side, theirs: Side, worth: Worth) -> Iterator[Difference]:
    for kind, mine, shown in (
        (DifferenceKind.BALANCE, ours.balance, theirs.balance),
        (DifferenceKind.CREDIT, ours.credit, theirs.credit),
    ):
        if abs(shown - mine) > ROUNDING:
            yield Difference(
                kind=kind,
                subject=str(kind),
                ours=mine,
                theirs=shown,
                impact=_dollars(shown - mine, worth.money),
                rate=worth.money,
                told=f"the books' records add up to {mine}, the broker shows {shown}",
            )


def _positions(ours: Side, theirs: Side, worth: Worth) -> Iterator[Difference]:
    for number in sorted({*ours.positions, *theirs.positions}):
        mine, shown = ours.positions.get(number), theirs.positions.get(number)
        held = shown or mine
        assert held is not None, "a number comes from one of the sides"
        lots, price = _volume(mine, shown, number), _price(mine, shown, worth)
        if lots is None and price is None:
            continue
        kind, difference = lots or (DifferenceKind.POSITION_PRICE, abs(held.lots))
        per_lot = worth.lots.get(held.symbol)
        yield Difference(
            kind=kind,
            subject=f"{held.symbol} #{number}",
            symbol=held.symbol,
            number=number,
            ours=None if mine is None else (mine.lots if lots else mine.price),
            theirs=None if shown is None else (shown.lots if lots else shown.price),
            impact=None if per_lot is None else abs(difference) * per_lot,
            rate=per_lot,
            told=f"the books have {_told(mine)}, the broker shows {_told(shown)}",
        )


def _volume(mine: Held | None, shown: Held | None, number: int) -> tuple[DifferenceKind, Decimal] | None:
    if mine is None and shown is not None:
        return DifferenceKind.POSITION_UNKNOWN, shown.lots
    if mine is not None and shown is None:
        return DifferenceKind.POSITION_MISSING, mine.lots
    assert mine is not None, f"position {number} is on one side at least"
    assert shown is not None, f"position {number} is on both sides here"
    if mine.symbol != shown.symbol:
        return DifferenceKind.POSITION_VOLUME, abs(mine.lots) + abs(shown.lots)
    if mine.lots != shown.lots:
        return DifferenceKind.POSITION_VOLUME, shown.lots - mine.lots
    return None


def _price(mine: Held | None, shown: Held | None, worth: Worth) -> Decimal | None:
    if mine is None or shown is None or mine.price is None or shown.price is None:
        return None
    tick = worth.ticks.get(shown.symbol)
    # A price is an average over several fills and may be rounded to a step.
    return None if tick is None or abs(mine.price - shown.price) <= tick else shown.price - mine.price


def _orders(ours: Side, theirs: Side) -> Iterator[Difference]:
    for number in sorted(set(ours.orders) ^ set(theirs.orders)):
        here = number in ours.orders
        yield Difference(
            kind=DifferenceKind.ORDER_MISSING if here else DifferenceKind.ORDER_UNKNOWN,
            subject=f"order #{number}",
            number=number,
            ours=Decimal(1) if here else None,
            theirs=None if here else Decimal(1),
            impact=ZERO,
            told=ours.orders[number] if here else theirs.orders[number],
        )


def _moves(difference: Difference, moving: Moving) -> bool:
    if difference.kind in MONEY:
        return moving.money
    if difference.kind in {DifferenceKind.ORDER_MISSING, DifferenceKind.ORDER_UNKNOWN}:
        return difference.number in moving.orders
    return difference.number in moving.positions


def _told(held: Held | None) -> str:
    if held is None:
        return "nothing"
    return f"{Lots(abs(held.lots))} {'long' if held.lots > 0 else 'short'} {held.symbol} at {held.price}"


def _dollars(amount: Decimal, rate: Decimal | None) -> Decimal | None:
    return None if rate is None else abs(amount) * rate
