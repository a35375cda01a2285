import pytest

from brokers.mt5.constants import ExecutionNumber, FillingMode
from brokers.mt5.filling import candidates

FOK, IOC, RETURN = FillingMode.FOK, FillingMode.IOC, FillingMode.RETURN


@pytest.mark.parametrize(
    ("execution", "bits", "modes"),
    [
        (ExecutionNumber.MARKET, 3, (FOK, IOC)),
        (ExecutionNumber.MARKET, 2, (IOC,)),
        (ExecutionNumber.MARKET, 0, (FOK, IOC)),
        (ExecutionNumber.EXCHANGE, 0, (RETURN,)),
        (ExecutionNumber.EXCHANGE, 3, (RETURN, FOK, IOC)),
        (ExecutionNumber.INSTANT, 0, (FOK, IOC, RETURN)),
        (ExecutionNumber.REQUEST, 2, (FOK, IOC, RETURN)),
    ],
)
def test_a_market_order_may_use_what_its_execution_allows(
    execution: int, bits: int, modes: tuple[int, ...]
) -> None:
    assert candidates({"trade_exemode": execution, "filling_mode": bits}, pending=False, wanted=None) == modes


@pytest.mark.parametrize("execution", list(ExecutionNumber))
def test_a_pending_order_prefers_return(execution: int) -> None:
    assert candidates({"trade_exemode": execution, "filling_mode": 2}, pending=True, wanted=None) == (RETURN, IOC)


def test_what_the_caller_demands_is_not_replaced() -> None:
    symbol = {"trade_exemode": ExecutionNumber.MARKET, "filling_mode": 3}
    assert candidates(symbol, pending=False, wanted=IOC) == (IOC,)
