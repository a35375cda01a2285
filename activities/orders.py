"""What the sender is given of a trade, and what it says of one that it did not send."""

from db.attempts import Attempt
from db.reservations import Terms
from db.trades import Trade
from domain.orders import NotSent, OrderRequest


def told(refusal: NotSent) -> str:
    numbers = ", ".join(f"{name} {value}" for name, value in refusal.detail.items())
    return f"not sent: {refusal.reason}" + (f" ({numbers})" if numbers else "")


def order_request(trade: Trade, attempt: Attempt, terms: Terms) -> OrderRequest:
    intent = trade.intent
    return OrderRequest(
        magic=attempt.magic,
        symbol=intent.symbol,
        side=intent.side,
        order_type=intent.order_type,
        volume=intent.volume,
        time_in_force=intent.time_in_force,
        price=intent.price,
        stop_limit_price=intent.stop_limit_price,
        stop_loss=intent.stop_loss,
        take_profit=intent.take_profit,
        expires_at=intent.expires_at,
        position_id=intent.position_id,
        close_by_position_id=intent.close_by_position_id,
        reference_price=terms.reference_price,
        collar_points=terms.collar_points,
        contract=terms.contract,
        since=intent.received_at,
        submit_by=intent.submit_by,
        # A hint for people who look at the terminal; brokers shorten and overwrite comments, the magic is the key.
        comment=intent.trade_id.hex[:16],
    )
