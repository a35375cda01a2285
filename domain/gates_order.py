"""Whether the order is one that the broker takes, and one that reduces fits what it reduces."""

from collections.abc import Iterator

from domain.exposure import entry_price
from domain.gates import Denial, Gate
from domain.instruments import Instrument
from domain.orders import OrderIntent, OrderType, Quote
from domain.positions import Holding, MarginMode
from domain.risk_context import AccountState, RiskContext


def order(intent: OrderIntent, instrument: Instrument, quote: Quote) -> Iterator[Denial]:
    """Whether sizes and prices are ones that the broker takes."""
    fault = instrument.volume_fault(intent.volume)
    if fault is not None:
        yield Denial(
            gate=Gate.VOLUME, code="volume_invalid", message=f"volume {fault}", value=intent.volume, unit="lots"
        )
    for name, price in (
        ("price", intent.price),
        ("stop_limit_price", intent.stop_limit_price),
        ("stop_loss", intent.stop_loss),
        ("take_profit", intent.take_profit),
    ):
        fault = None if price is None else instrument.price_fault(price)
        if fault is not None:
            yield Denial(gate=Gate.PRICE, code="price_invalid", message=f"{name} {fault}", value=price)
    # A market order's stop is measured from the price at which it could be closed again.
    entry = quote.to_close(intent.side) if intent.order_type is OrderType.MARKET else entry_price(intent, quote)
    for name, level, sign in (("stop_loss", intent.stop_loss, 1), ("take_profit", intent.take_profit, -1)):
        if level is not None and (entry - level) * intent.side.sign * sign <= 0:
            yield Denial(
                gate=Gate.STOP_LOSS,
                code="stops_invalid",
                message=f"{name} {level} is on the wrong side of {entry}",
                limit=entry,
                value=level,
            )


def reduction(intent: OrderIntent, context: RiskContext) -> Iterator[Denial]:
    if not intent.reducing:
        yield Denial(
            gate=Gate.POSITION,
            code="position_needs_market_order",
            message=f"a {intent.order_type} order cannot reduce a position; send a market order",
        )
        return
    holding = context.holding
    if holding is None or not holding.is_open_to(intent.user_id):
        yield _not_open(intent.position_id)
        return
    position = holding.position
    if position.symbol != intent.symbol or position.side is intent.side:
        yield Denial(
            gate=Gate.POSITION,
            code="position_not_reduced",
            message=f"{intent.side} {intent.symbol} does not reduce {position.side} {position.symbol}",
        )
    yield from _fits(intent, holding)


def close_by(
    intent: OrderIntent, context: RiskContext, account: AccountState, instrument: Instrument
) -> Iterator[Denial]:
    """Two opposite positions of the user, none of whose common lots another close holds."""
    if account.margin_mode is not MarginMode.HEDGING:
        yield Denial(
            gate=Gate.POSITION,
            code="close_by_needs_hedging",
            message="the account keeps one position for each symbol, so none can close another",
        )
        return
    if not instrument.close_by:
        yield Denial(
            gate=Gate.INSTRUMENT,
            code="close_by_not_offered",
            message=f"the broker closes no position in {intent.symbol} by another one",
        )
    holding, partner = context.holding, context.partner
    if holding is None or holding.owner != intent.user_id:
        yield _not_open(intent.position_id)
    if partner is None or partner.owner != intent.user_id:
        yield _not_open(intent.close_by_position_id)
    if holding is None or partner is None or {holding.owner, partner.owner} != {intent.user_id}:
        return
    position, other = holding.position, partner.position
    opposite = position.side is not intent.side and other.side is intent.side
    if {position.symbol, other.symbol} != {intent.symbol} or not opposite:
        yield Denial(
            gate=Gate.POSITION,
            code="positions_not_opposite",
            message=f"{position.side} {position.symbol} is not closed by {other.side} {other.symbol}",
        )
    for each in (holding, partner):
        yield from _fits(intent, each)
    # The broker takes no volume: it closes all that both have in common.
    common = min(position.volume, other.volume)
    if intent.volume < common:
        yield Denial(
            gate=Gate.POSITION,
            code="close_by_volume",
            message=f"the positions have {common} lots in common by now, {intent.volume} were asked for",
            limit=common,
            value=intent.volume,
            distance=common - intent.volume,
            unit="lots",
        )


def _not_open(position_id: int | None) -> Denial:
    return Denial(gate=Gate.POSITION, code="position_not_open", message=f"position {position_id} is not open")


def _fits(intent: OrderIntent, holding: Holding) -> Iterator[Denial]:
    if intent.volume > holding.free:
        yield Denial(
            gate=Gate.POSITION,
            code="position_volume_exceeded",
            message=f"only {holding.free} lots of position {holding.position.position_id} are free to close",
            limit=holding.free,
            value=intent.volume,
            distance=intent.volume - holding.free,
            unit="lots",
        )
