"""Whose a fill is: the opening trades it is split over, in lots and in money.

1. A fill belongs to the trade whose order made it; the broker's own exits belong to none.
2. A closing fill is allocated to the trades that opened its position, first in, first out.
3. The lines of a fill sum to the fill; what no trade of ours opened is `external`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from domain.fills import Entry, Fill, FillKind
from domain.money import ZERO, Lots, round_to_nearest


class AllocationRole(StrEnum):
    OPEN = "open"
    CLOSE = "close"
    MONEY = "money"


@dataclass(frozen=True, kw_only=True)
class Opener:
    """A trade (None for external) that still has `volume` lots of the position open."""

    trade_id: UUID | None
    volume: Lots


@dataclass(frozen=True, kw_only=True)
class Allocation:
    trade_id: UUID | None
    role: AllocationRole
    volume: Lots
    profit: Decimal
    commission: Decimal
    swap: Decimal
    fee: Decimal

    def reversed(self) -> "Allocation":
        return Allocation(
            trade_id=self.trade_id,
            role=self.role,
            volume=Lots(-self.volume),
            profit=-self.profit,
            commission=-self.commission,
            swap=-self.swap,
            fee=-self.fee,
        )


@dataclass(frozen=True, kw_only=True)
class _Part:
    trade_id: UUID | None
    role: AllocationRole
    volume: Lots


def allocate(fill: Fill, *, maker: UUID | None, openers: Sequence[Opener]) -> tuple[Allocation, ...]:
    """Split `fill` over the `openers` of its position, oldest first; `maker` is the trade whose order made it."""
    if fill.kind is not FillKind.TRADE or fill.volume == 0:
        owner = maker if maker is not None else next((o.trade_id for o in openers), None)
        return _with_money(fill, [_Part(trade_id=owner, role=AllocationRole.MONEY, volume=fill.volume)])
    if fill.entry is Entry.IN:
        return _with_money(fill, [_Part(trade_id=maker, role=AllocationRole.OPEN, volume=fill.volume)])
    if fill.entry is Entry.INOUT:
        # A holding from before our first record may have been closed beyond what its openers show.
        closing = min(fill.volume, Lots(sum((max(o.volume, ZERO) for o in openers), ZERO)))
        parts = _closing(openers, closing)
        rest = Lots(fill.volume - closing)
        if rest > 0:
            parts.append(_Part(trade_id=maker, role=AllocationRole.OPEN, volume=rest))
        return _with_money(fill, parts)
    return _with_money(fill, _closing(openers, fill.volume))


def covered(fill: Fill, openers: Sequence[Opener]) -> bool:
    """Whether the openers known so far account for the whole of a closing fill; of a reversal, for some of it."""
    held = sum((o.volume for o in openers), ZERO)
    match fill.entry:
        case Entry.OUT | Entry.OUT_BY:
            return held >= fill.volume
        case Entry.INOUT:
            return held > 0
        case Entry.IN | Entry.NONE:
            return True


def _closing(openers: Sequence[Opener], volume: Lots) -> list[_Part]:
    parts: list[_Part] = []
    left = volume
    for opener in openers:
        taken = min(opener.volume, left)
        if taken > 0:
            parts.append(_Part(trade_id=opener.trade_id, role=AllocationRole.CLOSE, volume=Lots(taken)))
            left = Lots(left - taken)
    if left > 0:
        parts.append(_Part(trade_id=None, role=AllocationRole.CLOSE, volume=left))
    return parts


def _with_money(fill: Fill, parts: Sequence[_Part]) -> tuple[Allocation, ...]:
    """Profit and swap go to the closing lots (to all, if none close), commission and fee to all; by volume."""
    closing = [part for part in parts if part.role is not AllocationRole.OPEN] or list(parts)
    profit = _spread(fill.profit, parts, closing)
    swap = _spread(fill.swap, parts, closing)
    commission = _spread(fill.commission, parts, parts)
    fee = _spread(fill.fee, parts, parts)
    return tuple(
        Allocation(
            trade_id=part.trade_id,
            role=part.role,
            volume=part.volume,
            profit=profit[index],
            commission=commission[index],
            swap=swap[index],
            fee=fee[index],
        )
        for index, part in enumerate(parts)
    )


def _spread(amount: Decimal, parts: Sequence[_Part], among: Sequence[_Part]) -> list[Decimal]:
    """Shares by volume in whole cents, the last one taking what rounding leaves, so that they sum exactly."""
    total = sum((part.volume for part in among), ZERO)
    shares: list[Decimal] = []
    left, last = amount, among[-1]
    for part in parts:
        if part not in among:
            shares.append(ZERO)
        elif part is last or total == 0:
            shares.append(left)
            left = ZERO
        else:
            share = round_to_nearest(amount * part.volume / total)
            shares.append(share)
            left -= share
    return shares
