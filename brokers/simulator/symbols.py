"""The instruments that the simulated broker offers, with their contract terms."""

from dataclasses import dataclass
from decimal import Decimal

from brokers.simulator import constants as mt5

# Bit masks of MQL5 that the Python package leaves out (facts §3.1).
FILLING_FOK = 1
FILLING_IOC = 2
FILLING_BOC = 4
EXPIRATION_ALL = 15
ORDER_MODE_ALL = 127


@dataclass(frozen=True, kw_only=True, slots=True)
class Symbol:
    """Contract terms of one instrument; prices in `profit_currency`, swaps in points per lot and night."""

    name: str
    description: str
    path: str
    base: str
    profit_currency: str
    digits: int
    contract: Decimal
    start_price: Decimal
    step_points: float  # standard deviation of one generated tick
    spread_points: tuple[int, int]
    swap_long: Decimal
    swap_short: Decimal
    commission_per_lot: Decimal
    calc_mode: int = mt5.SYMBOL_CALC_MODE_FOREX
    margin_rate: Decimal = Decimal(1)
    exemode: int = mt5.SYMBOL_TRADE_EXECUTION_MARKET
    filling_flags: int = FILLING_FOK | FILLING_IOC
    level_lots: Decimal = Decimal(1)
    levels: int = 10
    volume_min: Decimal = Decimal("0.01")
    volume_max: Decimal = Decimal(100)
    volume_step: Decimal = Decimal("0.01")
    volume_limit: Decimal = Decimal(0)
    stops_level: int = 0
    freeze_level: int = 0
    trade_mode: int = mt5.SYMBOL_TRADE_MODE_FULL
    session_open: bool = True
    selected: bool = True
    listed: bool = True  # False once the broker took it off its list, whatever is still open in it

    @property
    def point(self) -> Decimal:
        return Decimal(1).scaleb(-self.digits)

    @property
    def margin_currency(self) -> str:
        """FX is margined in the base currency, a CFD in the currency of its price (facts §10.2b)."""
        return self.base if self.calc_mode == mt5.SYMBOL_CALC_MODE_FOREX else self.profit_currency

    def price(self, value: Decimal) -> Decimal:
        return value.quantize(self.point)

    def on_tick(self, value: Decimal) -> bool:
        return value == self.price(value)


def _fx(name: str, description: str, **terms: object) -> Symbol:
    shared = {
        "name": name,
        "description": description,
        "path": f"Forex\\{name}",
        "base": name[:3],
        "profit_currency": name[3:],
        "contract": Decimal(100_000),
        "commission_per_lot": Decimal("3.5"),
    }
    return Symbol(**{**shared, **terms})  # type: ignore[arg-type] # the terms are checked by the dataclass call


SYMBOLS: tuple[Symbol, ...] = (
    _fx(
        "EURUSD",
        "Euro vs US Dollar",
        digits=5,
        start_price=Decimal("1.12120"),
        step_points=2.0,
        spread_points=(6, 14),
        swap_long=Decimal("-7.2"),
        swap_short=Decimal("2.1"),
    ),
    _fx(
        "GBPUSD",
        "Great Britain Pound vs US Dollar",
        digits=5,
        start_price=Decimal("1.27350"),
        step_points=2.5,
        spread_points=(8, 18),
        swap_long=Decimal("-4.3"),
        swap_short=Decimal("-1.9"),
    ),
    _fx(
        "USDJPY",
        "US Dollar vs Japanese Yen",
        digits=3,
        start_price=Decimal("148.250"),
        step_points=2.5,
        spread_points=(7, 16),
        swap_long=Decimal("8.4"),
        swap_short=Decimal("-19.6"),
    ),
    Symbol(
        name="XAUUSD",
        description="Gold vs US Dollar",
        path="Metals\\XAUUSD",
        base="XAU",
        profit_currency="USD",
        digits=2,
        contract=Decimal(100),
        start_price=Decimal("2040.50"),
        step_points=6.0,
        spread_points=(15, 35),
        swap_long=Decimal("-28.1"),
        swap_short=Decimal("12.4"),
        commission_per_lot=Decimal("3.5"),
        calc_mode=mt5.SYMBOL_CALC_MODE_CFDLEVERAGE,
    ),
    Symbol(
        name="US500",
        description="US 500 Index",
        path="Indices\\US500",
        base="USD",
        profit_currency="USD",
        digits=1,
        contract=Decimal(10),
        start_price=Decimal("5210.0"),
        step_points=2.0,
        spread_points=(4, 8),
        swap_long=Decimal("-9.5"),
        swap_short=Decimal("3.2"),
        commission_per_lot=Decimal("0.5"),
        calc_mode=mt5.SYMBOL_CALC_MODE_CFD,
        margin_rate=Decimal("0.05"),
        exemode=mt5.SYMBOL_TRADE_EXECUTION_EXCHANGE,
        filling_flags=FILLING_FOK | FILLING_IOC | FILLING_BOC,
        level_lots=Decimal("0.4"),
        levels=1,
        selected=False,  # outside the Market Watch until symbol_select, as most symbols of a broker are
    ),
)
