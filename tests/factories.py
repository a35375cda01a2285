"""Domain objects with plausible values: a dollar account that trades EURUSD. Keyword arguments replace fields."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from domain.controls import ControlScope
from domain.exposure import CurrencyPair
from domain.fills import Entry, Fill, FillKind, FillReason
from domain.instruments import Execution, Filling, Instrument, TradeMode
from domain.limits import UNITS, AskedLimit, Authority, Limit, LimitName, LimitUnit, Repeats, Usage
from domain.money import ZERO, Currency, Lots, Price
from domain.orders import (
    BrokerOrder,
    BrokerOrderState,
    OrderIntent,
    OrderType,
    Quote,
    Side,
    TimeInForce,
)
from domain.positions import BrokerPosition, Holding, MarginMode
from domain.risk_context import AccountState, RiskContext

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
USD, EUR = Currency("USD"), Currency("EUR")
BID, ASK = Price(Decimal("1.10000")), Price(Decimal("1.10010"))
TRADE_ID = UUID("00000000-0000-4000-8000-000000000001")
USER_ID = UUID("00000000-0000-4000-8000-000000000002")
ACCOUNT_ID = UUID("00000000-0000-4000-8000-000000000003")


def lots(text: str) -> Lots:
    return Lots(Decimal(text))


def price(text: str) -> Price:
    return Price(Decimal(text))


def make_intent(**changes: Any) -> OrderIntent:
    """Buy 0.10 EURUSD at the market."""
    values: dict[str, Any] = {
        "trade_id": TRADE_ID,
        "user_id": USER_ID,
        "account_id": ACCOUNT_ID,
        "client_order_id": "order-1",
        "body_hash": "hash",
        "symbol": "EURUSD",
        "side": Side.BUY,
        "order_type": OrderType.MARKET,
        "volume": lots("0.10"),
        "time_in_force": TimeInForce.GTC,
        "received_at": NOW,
        "submit_by": NOW + timedelta(seconds=10),
    }
    return OrderIntent(**{**values, **changes})


def make_instrument(**changes: Any) -> Instrument:
    values: dict[str, Any] = {
        "symbol": "EURUSD",
        "description": "Euro vs US Dollar",
        "currency_base": EUR,
        "currency_profit": USD,
        "currency_margin": EUR,
        "digits": 5,
        "point": Decimal("0.00001"),
        "tick_size": Decimal("0.00001"),
        "tick_value": Decimal(1),
        "contract_size": Decimal(100_000),
        "volume_min": lots("0.01"),
        "volume_max": lots("100"),
        "volume_step": lots("0.01"),
        "stops_level_points": 0,
        "freeze_level_points": 0,
        "trade_mode": TradeMode.FULL,
        "execution": Execution.MARKET,
        "fillings": (Filling.FOK, Filling.IOC),
        "order_types": tuple(OrderType),
        "close_by": True,
        "read_at": NOW,
    }
    return Instrument(**{**values, **changes})


def make_quote(**changes: Any) -> Quote:
    values: dict[str, Any] = {"symbol": "EURUSD", "bid": BID, "ask": ASK, "at": NOW, "read_at": NOW}
    return Quote(**{**values, **changes})


def make_pair(base: str, quoted: str, *, bid: str, ask: str) -> CurrencyPair:
    quote = make_quote(symbol=base + quoted, bid=price(bid), ask=price(ask))
    return CurrencyPair(base=Currency(base), quoted=Currency(quoted), quote=quote)


def make_position(**changes: Any) -> BrokerPosition:
    """A long position of 0.10 EURUSD without a stop."""
    values: dict[str, Any] = {
        "ticket": 7001,
        "position_id": 7001,
        "magic": 1_000_000_001,
        "symbol": "EURUSD",
        "side": Side.BUY,
        "volume": lots("0.10"),
        "price_open": BID,
        "price_current": BID,
        "stop_loss": None,
        "take_profit": None,
        "swap": ZERO,
        "profit": ZERO,
        "opened_at": NOW,
        "updated_at": NOW,
    }
    return BrokerPosition(**{**values, **changes})


def make_holding(position: BrokerPosition | None = None, **changes: Any) -> Holding:
    """A position that nobody of ours opened, all of it free."""
    held = position or make_position()
    return Holding(**{"position": held, "owner": None, "free": held.volume, **changes})


def make_fill(**changes: Any) -> Fill:
    """An opening execution of 0.10 lots with 0.35 of commission."""
    values: dict[str, Any] = {
        "ticket": 9001,
        "broker_order_id": 7001,
        "position_id": 7001,
        "magic": 1_000_000_001,
        "symbol": "EURUSD",
        "side": "buy",
        "kind": FillKind.TRADE,
        "entry": Entry.IN,
        "reason": FillReason.EXPERT,
        "volume": lots("0.10"),
        "price": ASK,
        "commission": Decimal("-0.35"),
        "swap": ZERO,
        "fee": ZERO,
        "profit": ZERO,
        "executed_at": NOW,
        "comment": "",
    }
    return Fill(**{**values, **changes})


def make_exit(**changes: Any) -> Fill:
    """A closing execution of 0.10 lots that gained ten dollars, by another order than the one that opened."""
    values: dict[str, Any] = {
        "ticket": 9002,
        "broker_order_id": 7002,
        "magic": 1_000_000_002,
        "side": "sell",
        "entry": Entry.OUT,
        "profit": Decimal("10.00"),
        "executed_at": NOW + timedelta(seconds=1),
    }
    return make_fill(**{**values, **changes})


def make_order(**changes: Any) -> BrokerOrder:
    values: dict[str, Any] = {
        "broker_order_id": 7001,
        "magic": 1_000_000_001,
        "symbol": "EURUSD",
        "side": Side.BUY,
        "state": BrokerOrderState.WORKING,
        "volume": lots("0.10"),
        "remaining": lots("0.10"),
        "price": BID,
        "stop_loss": None,
        "take_profit": None,
        "position_id": None,
        "placed_at": NOW,
        "done_at": None,
    }
    return BrokerOrder(**{**values, **changes})


def make_limit(name: LimitName, value: str, **changes: Any) -> Limit:
    """A limit of the whole account, in dollars where it is an amount."""
    unit = UNITS[name]
    values: dict[str, Any] = {
        "name": name,
        "scope": ControlScope.ACCOUNT,
        "value": Decimal(value),
        "unit": unit,
        "currency": USD if unit is LimitUnit.MONEY else None,
    }
    return Limit(**{**values, **changes})


def make_asked_limit(name: LimitName, value: str, **changes: Any) -> AskedLimit:
    """A value that somebody with every authority asks for, with no word on how long a loosening lasts."""
    values: dict[str, Any] = {
        "name": name,
        "value": Decimal(value),
        "reason": "test",
        "lasts": None,
        "permanent": False,
        "authority": Authority.FOR_GOOD,
    }
    return AskedLimit(**{**values, **changes})


def make_usage(**changes: Any) -> Usage:
    """Nothing used yet, by the whole account."""
    values: dict[str, Any] = {
        "scope": ControlScope.ACCOUNT,
        "held_loss": ZERO,
        "held_notional": ZERO,
        "held_margin": ZERO,
        "symbol_notional": ZERO,
        "gross_notional": ZERO,
        "realised_today": ZERO,
        "rolling_result": ZERO,
        "open_loss": ZERO,
        "present_loss": ZERO,
        "open_orders": 0,
        "open_positions": 1,
        "messages": 1,
    }
    return Usage(**{**values, **changes})


def make_account(**changes: Any) -> AccountState:
    values: dict[str, Any] = {
        "currency": USD,
        "margin_mode": MarginMode.HEDGING,
        "enabled": True,
        "user_enabled": True,
        "leverage": 100,
        "margin_free": Decimal(100_000),
        "read_at": NOW,
    }
    return AccountState(**{**values, **changes})


LIMITS = (
    make_limit(LimitName.DAILY_LOSS, "1000"),
    make_limit(LimitName.ROLLING_LOSS, "1000000"),
    make_limit(LimitName.ORDER_VALUE, "1000000"),
    make_limit(LimitName.POSITION_SIZE, "100000"),
    make_limit(LimitName.GROSS_EXPOSURE, "1000000"),
    make_limit(LimitName.OPEN_ORDERS, "10"),
    make_limit(LimitName.OPEN_POSITIONS, "10"),
    make_limit(LimitName.MESSAGE_RATE, "10"),
    make_limit(LimitName.REPEATED_EXECUTIONS, "10"),
    make_limit(LimitName.DUPLICATE_WINDOW, "5"),
    make_limit(LimitName.STOPLESS_LOSS, "2"),
    make_limit(LimitName.PRICE_COLLAR, "200"),
)


def make_context(**changes: Any) -> RiskContext:
    """Everything in order and nothing used; `make_intent()` passes."""
    values: dict[str, Any] = {
        "now": NOW,
        "data_age_max": timedelta(seconds=5),
        "controls": (),
        "account": make_account(),
        "conditions": (),
        "instrument": make_instrument(),
        "instrument_listed": True,
        "contract_changes": (),
        "instrument_allowed": True,
        "quote": make_quote(),
        "pairs": (),
        "limits": LIMITS,
        "usages": (make_usage(), make_usage(scope=ControlScope.USER)),
        "unvalued": (),
        "holding": None,
        "partner": None,
        "repeats": Repeats(last_age_seconds=None, executed=0),
    }
    return RiskContext(**{**values, **changes})
