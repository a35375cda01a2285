"""Struct types of the package, in its exact field order.

Like the originals they are tuples with attributes and `_asdict`, have no `_fields`, and refuse to be
pickled, so a struct that leaks past the adapter fails in tests as it would fail against the real package.
"""

from collections.abc import Iterable
from operator import itemgetter
from typing import Any, ClassVar, Self

ZEROS: dict[str, Any] = {"i": 0, "f": 0.0, "s": "", "b": False, "o": None}
CASTS: dict[str, Any] = {"i": int, "f": float, "s": str, "b": bool, "o": lambda value: value}


class Struct(tuple[Any, ...]):
    """A tuple whose fields carry names; `fields` marks a kind after a colon: f, s, b, or o for a
    nested struct; integers are bare."""

    __slots__ = ()
    n_fields: ClassVar[int] = 0
    _names: ClassVar[tuple[str, ...]] = ()
    _known: ClassVar[frozenset[str]] = frozenset()
    _casts: ClassVar[tuple[tuple[str, Any, Any], ...]] = ()

    def __init_subclass__(cls, *, fields: str) -> None:
        pairs = [field.partition(":") for field in fields.split()]
        cls._names = tuple(name for name, _, _ in pairs)
        cls._known = frozenset(cls._names)
        cls._casts = tuple((name, CASTS[kind or "i"], ZEROS[kind or "i"]) for name, _, kind in pairs)
        cls.n_fields = len(pairs)
        for index, name in enumerate(cls._names):
            setattr(cls, name, property(itemgetter(index)))

    def __new__(cls, values: Iterable[Any]) -> Self:
        self = super().__new__(cls, values)
        assert len(self) == cls.n_fields, f"{cls.__name__} has {cls.n_fields} fields"
        return self

    def __getattr__(self, name: str) -> Any:
        # Reached only for names that are no field; it tells the type checker that attributes exist.
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    @classmethod
    def row(cls, **values: Any) -> list[Any]:
        """The fields in order, cast to their kinds; what is not given is zero."""
        assert values.keys() <= cls._known, f"{cls.__name__} has no {values.keys() - cls._known}"
        return [cast(values[name]) if name in values else zero for name, cast, zero in cls._casts]

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._names, self, strict=True))

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={value!r}" for name, value in self._asdict().items())
        return f"{type(self).__name__}({inner})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle '{type(self).__name__}' object")


class AccountInfo(
    Struct,
    fields="login trade_mode leverage limit_orders margin_so_mode trade_allowed:b trade_expert:b margin_mode"
    " currency_digits fifo_close:b balance:f credit:f profit:f equity:f margin:f margin_free:f margin_level:f"
    " margin_so_call:f margin_so_so:f margin_initial:f margin_maintenance:f assets:f liabilities:f"
    " commission_blocked:f name:s server:s currency:s company:s",
): ...


class TerminalInfo(
    Struct,
    fields="community_account:b community_connection:b connected:b dlls_allowed:b trade_allowed:b"
    " tradeapi_disabled:b email_enabled:b ftp_enabled:b notifications_enabled:b mqid:b build maxbars codepage"
    " ping_last community_balance:f retransmission:f company:s name:s language:s path:s data_path:s"
    " commondata_path:s",
): ...


class Tick(Struct, fields="time bid:f ask:f last:f volume time_msc flags volume_real:f"): ...


class TradeOrder(
    Struct,
    fields="ticket time_setup time_setup_msc time_done time_done_msc time_expiration type type_time type_filling"
    " state magic position_id position_by_id reason volume_initial:f volume_current:f price_open:f sl:f tp:f"
    " price_current:f price_stoplimit:f symbol:s comment:s external_id:s",
): ...


class TradePosition(
    Struct,
    fields="ticket time time_msc time_update time_update_msc type magic identifier reason volume:f price_open:f"
    " sl:f tp:f price_current:f swap:f profit:f symbol:s comment:s external_id:s",
): ...


class TradeDeal(
    Struct,
    fields="ticket order time time_msc type entry magic position_id reason volume:f price:f commission:f swap:f"
    " profit:f fee:f symbol:s comment:s external_id:s",
): ...


class TradeRequest(
    Struct,
    fields="action magic order symbol:s volume:f price:f stoplimit:f sl:f tp:f deviation type type_filling"
    " type_time expiration comment:s position position_by",
): ...


class OrderSendResult(
    Struct,
    fields="retcode deal order volume:f price:f bid:f ask:f comment:s request_id retcode_external request:o",
): ...


class OrderCheckResult(
    Struct, fields="retcode balance:f equity:f profit:f margin:f margin_free:f margin_level:f comment:s request:o"
): ...


class BookInfo(Struct, fields="type price:f volume volume_dbl:f"): ...


class SymbolInfo(
    Struct,
    fields="custom:b chart_mode select:b visible:b session_deals session_buy_orders session_sell_orders volume"
    " volumehigh volumelow time digits spread spread_float:b ticks_bookdepth trade_calc_mode trade_mode"
    " start_time expiration_time trade_stops_level trade_freeze_level trade_exemode swap_mode"
    " swap_rollover3days margin_hedged_use_leg:b expiration_mode filling_mode order_mode order_gtc_mode"
    " option_mode option_right bid:f bidhigh:f bidlow:f ask:f askhigh:f asklow:f last:f lasthigh:f lastlow:f"
    " volume_real:f volumehigh_real:f volumelow_real:f option_strike:f point:f trade_tick_value:f"
    " trade_tick_value_profit:f trade_tick_value_loss:f trade_tick_size:f trade_contract_size:f"
    " trade_accrued_interest:f trade_face_value:f trade_liquidity_rate:f volume_min:f volume_max:f"
    " volume_step:f volume_limit:f swap_long:f swap_short:f margin_initial:f margin_maintenance:f"
    " session_volume:f session_turnover:f session_interest:f session_buy_orders_volume:f"
    " session_sell_orders_volume:f session_open:f session_close:f session_aw:f session_price_settlement:f"
    " session_price_limit_min:f session_price_limit_max:f margin_hedged:f price_change:f price_volatility:f"
    " price_theoretical:f price_greeks_delta:f price_greeks_theta:f price_greeks_gamma:f price_greeks_vega:f"
    " price_greeks_rho:f price_greeks_omega:f price_sensitivity:f basis:s category:s currency_base:s"
    " currency_profit:s currency_margin:s bank:s description:s exchange:s formula:s isin:s name:s page:s path:s",
): ...
