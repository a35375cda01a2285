"""A fill is known by its ticket: neither the order in which records arrive nor repeats of them change anything."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from domain.fills import Fill, FillKind, average_price, filled_lots
from tests.factories import lots, make_fill, price
from tests.strategies import order_fills

ORDER = make_fill().broker_order_id


@given(order_fills(), st.data())
def test_arrival_order_and_repeats_change_neither_volume_nor_price(fills: list[Fill], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(fills))
    repeated = [*shuffled, *data.draw(st.lists(st.sampled_from(fills)))]

    assert filled_lots(repeated, broker_order_id=ORDER) == filled_lots(fills, broker_order_id=ORDER)
    assert average_price(repeated) == average_price(fills)


@given(order_fills())
def test_filled_lots_are_the_sum_of_the_executions(fills: list[Fill]) -> None:
    assert filled_lots(fills, broker_order_id=ORDER) == sum(fill.volume for fill in fills)


@given(order_fills())
def test_the_average_price_lies_among_the_prices(fills: list[Fill]) -> None:
    average = average_price(fills)

    assert average is not None
    # Quotients of decimals end after 28 digits; the prices have five.
    assert min(fill.price for fill in fills) <= average.quantize(Decimal("1e-20")) <= max(f.price for f in fills)


def test_another_orders_executions_and_money_records_fill_nothing() -> None:
    fills = [make_fill(broker_order_id=1), make_fill(ticket=2, kind=FillKind.COMMISSION)]

    assert filled_lots(fills, broker_order_id=ORDER) == 0
    assert average_price(fills[1:]) is None


def test_the_average_is_weighted_by_volume() -> None:
    fills = [
        make_fill(ticket=1, volume=lots("0.30"), price=price("1.1")),
        make_fill(ticket=2, volume=lots("0.10"), price=price("1.5")),
    ]
    assert average_price(fills) == Decimal("1.2")


def test_cash_is_everything_that_moves_the_balance() -> None:
    fill = make_fill(
        profit=Decimal("5.00"), commission=Decimal("-0.35"), swap=Decimal("-0.10"), fee=Decimal("-0.05")
    )
    assert fill.cash == Decimal("4.50")


def test_the_content_hash_is_blind_to_how_a_number_is_written() -> None:
    assert make_fill(volume=lots("0.1")).content_hash == make_fill(volume=lots("0.100")).content_hash


def test_the_content_hash_tells_every_changed_field_apart() -> None:
    fill = make_fill()
    changed = [
        replace(fill, price=price("1.10011")),
        replace(fill, commission=Decimal("-0.36")),
        replace(fill, comment="busted"),
        replace(fill, kind=FillKind.CANCELLED),
        replace(fill, swap=Decimal("-0.01")),
    ]
    assert len({record.content_hash for record in [fill, *changed]}) == len(changed) + 1
