"""Fills: what the broker executed, and the other records of its account that move money.

1. A fill is identified by account and ticket; arrival order and repeats change nothing.
2. A changed record under a known ticket is a new revision, told apart by `content_hash`.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from domain.money import ZERO, Lots, Price


class FillKind(StrEnum):
    """What a record of the broker is: an execution, or money moved without one."""

    TRADE = "trade"
    BALANCE = "balance"
    CREDIT = "credit"
    CHARGE = "charge"
    CORRECTION = "correction"
    BONUS = "bonus"
    COMMISSION = "commission"
    INTEREST = "interest"
    DIVIDEND = "dividend"
    TAX = "tax"
    CANCELLED = "cancelled"
    OTHER = "other"


class Entry(StrEnum):
    IN = "in"
    OUT = "out"
    INOUT = "inout"
    OUT_BY = "out_by"
    NONE = "none"


class FillReason(StrEnum):
    CLIENT = "client"
    EXPERT = "expert"
    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"
    STOP_OUT = "stop_out"
    ROLLOVER = "rollover"
    OTHER = "other"


class FillSource(StrEnum):
    """Who brought a record to the books; ATTRIBUTION changes nothing of it, only whose it is."""

    SUBMIT = "submit"
    RESOLVE = "resolve"
    FEED = "feed"
    ATTRIBUTION = "attribution"


@dataclass(frozen=True, kw_only=True)
class Fill:
    """One record of the broker's account history. Money is in the account's currency, times are UTC.

    `side` is "buy" or "sell" for an execution and "" otherwise; `broker_order_id` and `position_id` are 0
    where the broker gives none; `magic` is the number of the order that made it, 0 for the broker's own.
    """

    ticket: int
    broker_order_id: int
    position_id: int
    magic: int
    symbol: str
    side: str
    kind: FillKind
    entry: Entry
    reason: FillReason
    volume: Lots
    price: Price
    commission: Decimal
    swap: Decimal
    fee: Decimal
    profit: Decimal
    executed_at: datetime
    comment: str

    @property
    def cash(self) -> Decimal:
        """What the record adds to the account's balance."""
        return self.profit + self.commission + self.swap + self.fee

    @property
    def closing(self) -> bool:
        """Whether it closes something that was opened before, and so belongs to whoever opened that."""
        return self.entry in {Entry.OUT, Entry.OUT_BY, Entry.INOUT}

    @property
    def content_hash(self) -> str:
        fields = (format(v.normalize(), "f") if isinstance(v, Decimal) else str(v) for v in astuple(self))
        return hashlib.sha256("\x1f".join(fields).encode()).hexdigest()


def filled_lots(fills: Iterable[Fill], *, broker_order_id: int) -> Lots:
    executed = {
        f.ticket: f.volume for f in fills if f.kind is FillKind.TRADE and f.broker_order_id == broker_order_id
    }
    return Lots(sum(executed.values(), ZERO))


def average_price(fills: Iterable[Fill]) -> Price | None:
    """The volume-weighted price of the executions, None if there are none."""
    executed = {f.ticket: f for f in fills if f.kind is FillKind.TRADE}
    volume = sum((f.volume for f in executed.values()), ZERO)
    if volume == 0:
        return None
    return Price(sum((f.volume * f.price for f in executed.values()), ZERO) / volume)
