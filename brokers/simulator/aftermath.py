"""What an order is told, when it is made, to show or cost afterwards; kept with the order itself."""

import json
from collections.abc import Sequence
from typing import cast

from brokers.simulator.fault_wire import all_from_wire, to_wire
from brokers.simulator.faults import Aftermath, CommentRewritten
from brokers.simulator.records import Order

NOTHING = "[]"


def tell(order: Order, aftermath: Sequence[Aftermath]) -> None:
    """Write the faults on the order, and rewrite its comment if one of them does."""
    if not aftermath:
        return
    order.aftermath = json.dumps([to_wire(fault) for fault in aftermath])
    for fault in aftermath:
        if isinstance(fault, CommentRewritten):
            order.comment = fault.text or order.comment[: fault.cut]


def aftermath_of(order: Order) -> list[Aftermath]:
    if order.aftermath == NOTHING:
        return []
    return cast("list[Aftermath]", all_from_wire(json.loads(order.aftermath)))
