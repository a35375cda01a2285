"""What an order or a position puts at risk, measured on the side of the quote that is worse for us."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from domain.exposure import (
    conversion_rate,
    entry_price,
    loss_between,
    notional,
    open_loss,
    worst_entry_price,
)
from domain.money import CENT, ZERO, Currency, Lots, Price
from domain.orders import OrderIntent, OrderType, Side
from tests.factories import (
    ASK,
    BID,
    EUR,
    USD,
    lots,
    make_instrument,
    make_intent,
    make_pair,
    make_position,
    make_quote,
    price,
)
from tests.strategies import POINT, prices, volumes

EURUSD = make_instrument()
ONE = Decimal(1)
RESTING = price("1.09500")


def intent_of(order_type: OrderType, side: Side = Side.BUY) -> OrderIntent:
    named = None if order_type is OrderType.MARKET else RESTING
    beyond = price("1.09600") if order_type is OrderType.STOP_LIMIT else None
    return make_intent(order_type=order_type, side=side, price=named, stop_limit_price=beyond)


def test_a_currency_converts_to_itself_at_one() -> None:
    assert conversion_rate(USD, USD, ()) == 1


def test_a_rate_is_taken_from_the_side_that_costs_more() -> None:
    pairs = [make_pair("EUR", "USD", bid="1.10", ask="1.12")]

    assert conversion_rate(EUR, USD, pairs) == Decimal("1.12")
    assert conversion_rate(USD, EUR, pairs) == 1 / Decimal("1.10")


def test_without_a_joining_pair_there_is_no_rate() -> None:
    assert conversion_rate(Currency("JPY"), USD, [make_pair("EUR", "USD", bid="1.10", ask="1.12")]) is None


def test_a_market_order_enters_at_the_price_on_offer_and_others_at_their_own() -> None:
    quote = make_quote()

    assert entry_price(intent_of(OrderType.MARKET), quote) == ASK
    assert entry_price(intent_of(OrderType.MARKET, Side.SELL), quote) == BID
    assert entry_price(intent_of(OrderType.LIMIT), quote) == RESTING
    assert entry_price(intent_of(OrderType.STOP), quote) == RESTING
    assert entry_price(intent_of(OrderType.STOP_LIMIT), quote) == price("1.09600")


@given(st.sampled_from(Side), st.integers(0, 500))
def test_the_collar_bounds_market_and_stop_orders_and_a_limit_bounds_itself(side: Side, collar: int) -> None:
    quote = make_quote()
    for order_type in OrderType:
        intent = intent_of(order_type, side)
        worst = worst_entry_price(intent, quote, collar_points=collar, point=POINT)
        bounded = order_type in {OrderType.LIMIT, OrderType.STOP_LIMIT}
        assert (worst - entry_price(intent, quote)) * side.sign == (0 if bounded else collar * POINT)


def test_notional_is_volume_times_contract_size_times_price() -> None:
    assert notional(EURUSD, volume=lots("0.10"), price=price("1.10"), rate=ONE) == Decimal("11000.00")


@given(volumes(), prices(), st.decimals("0.5", "200", places=5))
def test_notional_never_understates(volume: Lots, at: Price, rate: Decimal) -> None:
    exact = volume * EURUSD.contract_size * at * rate
    assert ZERO <= notional(EURUSD, volume=volume, price=at, rate=rate) - exact < CENT


@given(st.sampled_from(Side), volumes(), prices(), prices())
def test_a_move_loses_for_one_side_alone(side: Side, volume: Lots, entry: Price, left_at: Price) -> None:
    mine = loss_between(EURUSD, side, volume=volume, entry=entry, exit_price=left_at, rate=ONE)
    theirs = loss_between(EURUSD, side.opposite, volume=volume, entry=entry, exit_price=left_at, rate=ONE)

    assert min(mine, theirs) == 0
    assert max(mine, theirs) >= abs(entry - left_at) * volume * EURUSD.contract_size


def test_a_stop_bounds_the_loss_of_a_position() -> None:
    position = make_position(stop_loss=price("1.09900"))
    loss = open_loss(position, EURUSD, mark=BID, rate=ONE, stopless_percent=Decimal(2))
    assert loss == Decimal("10.00")


def test_a_stop_beyond_the_mark_leaves_nothing_to_lose_today() -> None:
    position = make_position(stop_loss=price("1.10500"), price_current=price("1.11000"))
    assert open_loss(position, EURUSD, mark=BID, rate=ONE, stopless_percent=Decimal(2)) == 0


def test_without_a_stop_a_percent_of_the_value_is_assumed_or_the_present_loss_if_larger() -> None:
    near = make_position(price_current=BID)
    far = make_position(price_current=price("1.00000"))

    assert open_loss(near, EURUSD, mark=BID, rate=ONE, stopless_percent=Decimal(2)) == Decimal("220.00")
    assert open_loss(far, EURUSD, mark=BID, rate=ONE, stopless_percent=Decimal(2)) == Decimal("1000.00")
