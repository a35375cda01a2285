"""From the terminal's structs, as plain dicts, to the domain. Pure; floats and the server's clock end here."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from brokers.mt5.clock import ServerClock
from brokers.mt5.constants import (
    BROKERS_OWN,
    ExecutionNumber,
    FillingFlag,
    MarginModeNumber,
    OrderFlag,
    OrderKind,
    OrderStatus,
    PositionKind,
    Reason,
)
from brokers.mt5.floats import exact
from brokers.protocol import AccountReading
from domain.contracts import Contract
from domain.fills import Entry, Fill, FillKind, FillReason
from domain.instruments import Execution, Filling, Instrument, TradeMode
from domain.money import Currency, Lots, Price
from domain.orders import BrokerOrder, BrokerOrderState, OrderType, Quote, Side
from domain.positions import BrokerPosition, MarginMode
from domain.watch import Permissions

Struct = Mapping[str, Any]

MARGIN_MODES = {
    MarginModeNumber.RETAIL_NETTING: MarginMode.NETTING,
    MarginModeNumber.EXCHANGE: MarginMode.EXCHANGE,
    MarginModeNumber.RETAIL_HEDGING: MarginMode.HEDGING,
}
ACCOUNT_TRADE_MODES = ("demo", "contest", "real")
TRADE_MODES = (
    TradeMode.DISABLED,
    TradeMode.LONG_ONLY,
    TradeMode.SHORT_ONLY,
    TradeMode.CLOSE_ONLY,
    TradeMode.FULL,
)
EXECUTIONS = {
    ExecutionNumber.REQUEST: Execution.REQUEST,
    ExecutionNumber.INSTANT: Execution.INSTANT,
    ExecutionNumber.MARKET: Execution.MARKET,
    ExecutionNumber.EXCHANGE: Execution.EXCHANGE,
}
ORDER_STATES = {
    OrderStatus.STARTED: BrokerOrderState.WORKING,
    OrderStatus.PLACED: BrokerOrderState.WORKING,
    OrderStatus.CANCELED: BrokerOrderState.CANCELLED,
    OrderStatus.PARTIAL: BrokerOrderState.WORKING,
    OrderStatus.FILLED: BrokerOrderState.FILLED,
    OrderStatus.REJECTED: BrokerOrderState.REJECTED,
    OrderStatus.EXPIRED: BrokerOrderState.EXPIRED,
    OrderStatus.REQUEST_ADD: BrokerOrderState.WORKING,
    OrderStatus.REQUEST_MODIFY: BrokerOrderState.WORKING,
    OrderStatus.REQUEST_CANCEL: BrokerOrderState.WORKING,
}
# By the number of the deal's type; 7 to 11 are commissions by deal, day and month, ours and an agent's.
FILL_KINDS = (
    FillKind.TRADE,
    FillKind.TRADE,
    FillKind.BALANCE,
    FillKind.CREDIT,
    FillKind.CHARGE,
    FillKind.CORRECTION,
    FillKind.BONUS,
    FillKind.COMMISSION,
    FillKind.COMMISSION,
    FillKind.COMMISSION,
    FillKind.COMMISSION,
    FillKind.COMMISSION,
    FillKind.INTEREST,
    FillKind.CANCELLED,
    FillKind.CANCELLED,
    FillKind.DIVIDEND,
    FillKind.DIVIDEND,
    FillKind.TAX,
)
ENTRIES = (Entry.IN, Entry.OUT, Entry.INOUT, Entry.OUT_BY)
FILL_REASONS = {
    Reason.CLIENT: FillReason.CLIENT,
    Reason.MOBILE: FillReason.CLIENT,
    Reason.WEB: FillReason.CLIENT,
    Reason.EXPERT: FillReason.EXPERT,
    Reason.SL: FillReason.STOP_LOSS,
    Reason.TP: FillReason.TAKE_PROFIT,
    Reason.SO: FillReason.STOP_OUT,
    Reason.ROLLOVER: FillReason.ROLLOVER,
}


def account_reading(account: Struct, terminal: Struct, *, read_at: datetime) -> AccountReading:
    return AccountReading(
        login=account["login"],
        server=account["server"],
        company=account["company"],
        currency=Currency(account["currency"]),
        margin_mode=MARGIN_MODES[account["margin_mode"]],
        trade_mode=ACCOUNT_TRADE_MODES[account["trade_mode"]],
        leverage=account["leverage"],
        permissions=permissions(account, terminal),
        balance=exact(account["balance"]),
        credit=exact(account["credit"]),
        equity=exact(account["equity"]),
        margin=exact(account["margin"]),
        margin_free=exact(account["margin_free"]),
        read_at=read_at,
    )


def permissions(account: Struct, terminal: Struct) -> Permissions:
    return Permissions(
        connected=bool(terminal["connected"]),
        algo_trading=bool(terminal["trade_allowed"]),
        python_trading=not terminal["tradeapi_disabled"],
        account_trading=bool(account["trade_allowed"]),
        expert_trading=bool(account["trade_expert"]),
    )


def contract(symbol: Struct) -> Contract:
    return Contract(
        contract_size=exact(symbol["trade_contract_size"]),
        tick_size=exact(symbol["trade_tick_size"]),
        point=exact(symbol["point"]),
        digits=symbol["digits"],
    )


def instrument(symbol: Struct, *, read_at: datetime) -> Instrument:
    return Instrument(
        symbol=symbol["name"],
        description=symbol["description"],
        currency_base=Currency(symbol["currency_base"]),
        currency_profit=Currency(symbol["currency_profit"]),
        currency_margin=Currency(symbol["currency_margin"]),
        digits=symbol["digits"],
        point=exact(symbol["point"]),
        tick_size=exact(symbol["trade_tick_size"]),
        tick_value=exact(symbol["trade_tick_value"]),
        contract_size=exact(symbol["trade_contract_size"]),
        volume_min=Lots(exact(symbol["volume_min"])),
        volume_max=Lots(exact(symbol["volume_max"])),
        volume_step=Lots(exact(symbol["volume_step"])),
        stops_level_points=symbol["trade_stops_level"],
        freeze_level_points=symbol["trade_freeze_level"],
        trade_mode=TRADE_MODES[symbol["trade_mode"]],
        execution=EXECUTIONS[symbol["trade_exemode"]],
        fillings=fillings(symbol),
        order_types=order_types(symbol["order_mode"]),
        close_by=bool(symbol["order_mode"] & OrderFlag.CLOSE_BY),
        read_at=read_at,
    )


def fillings(symbol: Struct) -> tuple[Filling, ...]:
    """What a market order may ask for; under Request and Instant execution the bits bind nobody."""
    if symbol["trade_exemode"] in (ExecutionNumber.REQUEST, ExecutionNumber.INSTANT):
        return (Filling.FOK, Filling.IOC, Filling.RETURN)
    flags = FillingFlag(symbol["filling_mode"])
    flagged = ((FillingFlag.FOK, Filling.FOK), (FillingFlag.IOC, Filling.IOC))
    allowed = tuple(filling for flag, filling in flagged if flag in flags)
    return (*allowed, Filling.RETURN) if symbol["trade_exemode"] == ExecutionNumber.EXCHANGE else allowed


def order_types(order_mode: int) -> tuple[OrderType, ...]:
    flags = (
        (OrderFlag.MARKET, OrderType.MARKET),
        (OrderFlag.LIMIT, OrderType.LIMIT),
        (OrderFlag.STOP, OrderType.STOP),
        (OrderFlag.STOP_LIMIT, OrderType.STOP_LIMIT),
    )
    return tuple(order_type for flag, order_type in flags if order_mode & flag)


def quote(symbol: str, tick: Struct, *, clock: ServerClock, read_at: datetime) -> Quote | None:
    """None while the terminal has no price on both sides, which it shows as zero."""
    if not (tick["bid"] and tick["ask"]):
        return None
    return Quote(
        symbol=symbol,
        bid=Price(exact(tick["bid"])),
        ask=Price(exact(tick["ask"])),
        at=clock.to_utc_near(tick["time_msc"], read_at),
        read_at=read_at,
    )


def broker_order(order: Struct, *, clock: ServerClock) -> BrokerOrder:
    return BrokerOrder(
        broker_order_id=order["ticket"],
        magic=order["magic"],
        symbol=order["symbol"],
        side=order_side(order["type"]),
        state=ORDER_STATES[order["state"]],
        volume=Lots(exact(order["volume_initial"])),
        remaining=Lots(exact(order["volume_current"])),
        price=Price(exact(order["price_open"])),
        stop_loss=level(order["sl"]),
        take_profit=level(order["tp"]),
        position_id=order["position_id"] or None,
        placed_at=clock.to_utc(order["time_setup_msc"]),
        done_at=clock.to_utc(order["time_done_msc"]) if order["time_done_msc"] else None,
    )


def order_side(kind: int) -> Side | None:
    if kind == OrderKind.CLOSE_BY:
        return None
    return Side.SELL if kind % 2 else Side.BUY


def broker_position(position: Struct, *, clock: ServerClock) -> BrokerPosition:
    return BrokerPosition(
        ticket=position["ticket"],
        position_id=position["identifier"],
        magic=position["magic"],
        symbol=position["symbol"],
        side=Side.SELL if position["type"] == PositionKind.SELL else Side.BUY,
        volume=Lots(exact(position["volume"])),
        price_open=Price(exact(position["price_open"])),
        price_current=Price(exact(position["price_current"])),
        stop_loss=level(position["sl"]),
        take_profit=level(position["tp"]),
        swap=exact(position["swap"]),
        profit=exact(position["profit"]),
        opened_at=clock.to_utc(position["time_msc"]),
        updated_at=clock.to_utc(position["time_update_msc"]),
    )


def broker_orders(orders: Iterable[Struct], *, clock: ServerClock) -> tuple[BrokerOrder, ...]:
    return tuple(broker_order(order, clock=clock) for order in orders)


def sent_orders(orders: Iterable[Struct], *, clock: ServerClock) -> tuple[BrokerOrder, ...]:
    """Without the orders by which the broker itself closes a position, to which some brokers copy its magic."""
    return broker_orders((order for order in orders if order["reason"] not in BROKERS_OWN), clock=clock)


def broker_positions(positions: Iterable[Struct], *, clock: ServerClock) -> tuple[BrokerPosition, ...]:
    return tuple(broker_position(position, clock=clock) for position in positions)


def fill(deal: Struct, *, clock: ServerClock) -> Fill:
    kind = FILL_KINDS[deal["type"]] if deal["type"] < len(FILL_KINDS) else FillKind.OTHER
    executed = kind is FillKind.TRADE
    return Fill(
        ticket=deal["ticket"],
        broker_order_id=deal["order"],
        position_id=deal["position_id"],
        magic=deal["magic"],
        symbol=deal["symbol"],
        side=(Side.SELL if deal["type"] else Side.BUY).value if executed else "",
        kind=kind,
        entry=ENTRIES[deal["entry"]] if executed else Entry.NONE,
        reason=FILL_REASONS.get(deal["reason"], FillReason.OTHER),
        volume=Lots(exact(deal["volume"])),
        price=Price(exact(deal["price"])),
        commission=exact(deal["commission"]),
        swap=exact(deal["swap"]),
        fee=exact(deal["fee"]),
        profit=exact(deal["profit"]),
        executed_at=clock.to_utc(deal["time_msc"]),
        comment=deal["comment"],
    )


def level(value: float) -> Price | None:
    """A stop loss or take profit; the terminal writes zero for none."""
    price: Decimal = exact(value)
    return Price(price) if price else None
