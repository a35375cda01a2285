"""What the Temporal Web UI shows of a trade: its state, the numbers behind it, and what is still missing."""

from domain.orders import OrderIntent
from domain.trades import TradeProgress


def card(intent: OrderIntent, progress: TradeProgress) -> str:
    """The trade as a short Markdown table."""
    rows = {
        "state": f"**{progress.state}**",
        "intent": str(intent),
        "filled": f"{progress.filled_volume} of {progress.volume} lots",
        "average price": progress.average_price,
        "slippage": None if progress.slippage_points is None else f"{progress.slippage_points} points",
        "broker order": progress.broker_order_id,
        "magic": progress.magic,
        "reason": progress.reason,
        **(progress.evidence or {}),
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items() if value is not None]
    attention = "**Needs a person.**\n\n" if progress.needs_attention else ""
    return attention + "\n".join(["| | |", "|---|---|", *lines])
