"""What an order or a position puts at risk, in the account's currency.

Every amount uses the side of a quote that is worse for us, so a limit measured by it is never overstepped by
the spread or by rounding.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from domain.instruments import Instrument
from domain.money import ZERO, Currency, Lots, Price, round_against_us
from domain.orders import OrderIntent, OrderType, Quote, Side
from domain.positions import BrokerPosition


@dataclass(frozen=True, kw_only=True)
class CurrencyPair:
    """A quoted exchange rate: one unit of `base` in units of `quoted`."""

    base: Currency
    quoted: Currency
    quote: Quote


def conversion_rate(source: Currency, target: Currency, pairs: Iterable[CurrencyPair]) -> Decimal | None:
    """How much `target` one unit of `source` may cost at most; None if no quoted pair joins the two."""
    if source == target:
        return Decimal(1)
    for pair in pairs:
        if (pair.base, pair.quoted) == (source, target):
            return pair.quote.ask
        if (pair.base, pair.quoted) == (target, source):
            return 1 / pair.quote.bid
    return None


def entry_price(intent: OrderIntent, quote: Quote) -> Price:
    """The price the order would be filled at now; for a resting order, the price that it names."""
    if intent.order_type is OrderType.MARKET:
        return quote.to_open(intent.side)
    if intent.order_type is OrderType.STOP_LIMIT and intent.stop_limit_price is not None:
        return intent.stop_limit_price
    assert intent.price is not None, "only a market order has no price"
    return intent.price


def worst_entry_price(intent: OrderIntent, quote: Quote, *, collar_points: int, point: Decimal) -> Price:
    """The worst price at which the order may still be filled: limits bound it, the collar bounds the others."""
    price = entry_price(intent, quote)
    if intent.order_type in {OrderType.LIMIT, OrderType.STOP_LIMIT}:
        return price
    return Price(price + intent.side.sign * collar_points * point)


def notional(instrument: Instrument, *, volume: Lots, price: Price, rate: Decimal) -> Decimal:
    return round_against_us(volume * instrument.contract_size * price * rate)


def loss_between(
    instrument: Instrument, side: Side, *, volume: Lots, entry: Price, exit_price: Price, rate: Decimal
) -> Decimal:
    """The loss of a holding that moves from `entry` to `exit_price`; zero if that is a gain."""
    move = (entry - exit_price) * side.sign
    return round_against_us(max(ZERO, move * volume * instrument.contract_size * rate))


def open_loss(
    position: BrokerPosition, instrument: Instrument, *, mark: Price, rate: Decimal, stopless_percent: Decimal
) -> Decimal:
    """The most that an open position may lose today, from `mark` to its stop.

    Without a stop the bound is a percent of its value, or its present loss where that is larger.
    """
    if position.stop_loss is not None:
        return loss_between(
            instrument, position.side, volume=position.volume, entry=mark, exit_price=position.stop_loss, rate=rate
        )
    present = present_loss(position, instrument, mark=mark, rate=rate)
    bound = notional(instrument, volume=position.volume, price=position.price_current, rate=rate)
    return max(present, round_against_us(bound * stopless_percent / 100))


def present_loss(position: BrokerPosition, instrument: Instrument, *, mark: Price, rate: Decimal) -> Decimal:
    """What an open position has lost since `mark`; zero if it has gained."""
    return loss_between(
        instrument, position.side, volume=position.volume, entry=mark, exit_price=position.price_current, rate=rate
    )
