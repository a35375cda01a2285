"""A row of the trade ledger as the domain's types."""

from sqlalchemy import RowMapping

from domain.money import Lots
from domain.orders import OrderIntent, OrderState, OrderType, Side, TimeInForce
from domain.trades import TradeProgress


def intent_of(row: RowMapping) -> OrderIntent:
    return OrderIntent(
        trade_id=row["id"],
        user_id=row["user_id"],
        account_id=row["account_id"],
        client_order_id=row["client_order_id"],
        body_hash=row["body_hash"],
        symbol=row["symbol"],
        side=Side(row["side"]),
        order_type=OrderType(row["order_type"]),
        volume=Lots(row["volume"]),
        time_in_force=TimeInForce(row["time_in_force"]),
        received_at=row["received_at"],
        submit_by=row["submit_by"],
        price=row["price"],
        stop_limit_price=row["stop_limit_price"],
        stop_loss=row["stop_loss"],
        take_profit=row["take_profit"],
        expires_at=row["expires_at"],
        max_slippage_points=row["max_slippage_points"],
        position_id=row["position_id"],
        close_by_position_id=row["close_by_position_id"],
        allow_duplicate=row["allow_duplicate"],
        stop_id=row["stop_id"],
    )


def progress_of(row: RowMapping) -> TradeProgress:
    return TradeProgress(
        trade_id=row["id"],
        body_hash=row["body_hash"],
        state=OrderState(row["state"]),
        magic=row["magic"],
        volume=Lots(row["volume"]),
        filled_volume=Lots(row["filled_volume"]),
        average_price=row["average_price"],
        broker_order_id=row["broker_order_id"],
        reason=row["reason"],
        needs_attention=row["needs_attention"],
        closed_at=row["closed_at"],
        slippage_points=row["slippage_points"],
        evidence=row["evidence"],
    )
