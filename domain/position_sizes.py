"""How large an order may be for a given loss at its stop."""

from dataclasses import dataclass
from decimal import Decimal

from domain.exposure import loss_between
from domain.instruments import Instrument
from domain.money import ZERO, Lots, Price, floor_to_step, round_down
from domain.orders import Side


@dataclass(frozen=True, kw_only=True)
class PositionSize:
    """`volume` loses `loss` at the stop and is zero where even the least volume would lose more than the risk.

    `least_loss` is what the broker's least volume would lose; `capped`: the broker takes no larger volume.
    """

    volume: Lots
    loss: Decimal
    least_loss: Decimal
    capped: bool


def volume_for(
    instrument: Instrument, side: Side, *, risk: Decimal, entry: Price, stop_loss: Price, rate: Decimal
) -> PositionSize:
    """The largest volume, down to the broker's step, whose loss from `entry` to `stop_loss` stays within `risk`.

    `rate` converts the profit currency to the account's, in which `risk` and the losses are. The stop lies on the
    losing side of the entry.
    """
    distance = (entry - stop_loss) * side.sign
    assert distance > 0, "a stop lies on the losing side of its entry"

    def loss(volume: Lots) -> Decimal:
        return loss_between(instrument, side, volume=volume, entry=entry, exit_price=stop_loss, rate=rate)

    step = instrument.volume_step
    fits = floor_to_step(Lots(risk / (distance * instrument.contract_size * rate)), step)
    volume = min(fits, floor_to_step(instrument.volume_max, step))
    # The loss is rounded up to the cent, which may be the cent too many.
    while volume > 0 and loss(volume) > risk:
        volume = Lots(volume - step)
    if volume < instrument.volume_min:
        volume = Lots(ZERO)
    return PositionSize(
        volume=volume, loss=loss(volume), least_loss=loss(instrument.volume_min), capped=fits > volume > 0
    )


def share_of(equity: Decimal, *, percent: Decimal) -> Decimal:
    """The money that `percent` of the equity is, never a cent more."""
    return round_down(equity * percent / 100)
