from enum import IntEnum

import pytest

from brokers.mt5 import constants
from brokers.mt5.retcodes import FENCED, LAST_ERRORS, OWNED, REFUSALS, RETCODES, Silence, Verdict, silence, verdict
from brokers.simulator import constants as package

# Not a constant of the package, but documented: opposite positions are prohibited.
HEDGE_PROHIBITED = 10046


def package_numbers(prefix: str) -> dict[str, int]:
    return {name: value for name, value in vars(package).items() if name.startswith(prefix)}


def test_every_retcode_of_the_package_has_a_class_and_no_other_number_has() -> None:
    assert set(RETCODES) == set(package_numbers("TRADE_RETCODE_").values()) | {HEDGE_PROHIBITED}


def test_names_are_the_packages_own() -> None:
    named = {f"TRADE_RETCODE_{name.upper()}": code for code, (name, _) in RETCODES.items()}
    assert package_numbers("TRADE_RETCODE_").items() <= named.items()


def test_every_last_error_of_the_package_has_a_class() -> None:
    assert set(LAST_ERRORS) == set(package_numbers("RES_").values())


@pytest.mark.parametrize("retcode", [0, -1, 1, 10037, 10047, 99999])
def test_an_unknown_retcode_proves_nothing(retcode: int) -> None:
    assert verdict(retcode) is Verdict.UNKNOWN


@pytest.mark.parametrize("retcode", [10007, 10011, 10012, 10031])
def test_the_ambiguous_retcodes_are_neither_refusals_nor_executions(retcode: int) -> None:
    assert verdict(retcode) not in REFUSALS | OWNED | {Verdict.NO_OP}


@pytest.mark.parametrize("code", [1, -1, -3, -10000, -10001, -10002, -99])
def test_a_lost_answer_proves_nothing(code: int) -> None:
    assert silence(code, "whatever it says") is Silence.UNKNOWN


@pytest.mark.parametrize("code", [-2, -4, -5, -6, -7, -8, -10004])
def test_a_call_that_was_refused_on_the_spot_was_not_sent(code: int) -> None:
    assert silence(code, "whatever it says") is Silence.NOT_SENT


def test_a_fenced_send_was_not_sent() -> None:
    assert silence(-1, f"{FENCED}: lease 1 is older than 2") is Silence.NOT_SENT


@pytest.mark.parametrize(
    ("ours", "prefix"),
    [
        (constants.Action, "TRADE_ACTION_"),
        (constants.OrderKind, "ORDER_TYPE_"),
        (constants.FillingMode, "ORDER_FILLING_"),
        (constants.OrderTime, "ORDER_TIME_"),
        (constants.OrderStatus, "ORDER_STATE_"),
        (constants.MarginModeNumber, "ACCOUNT_MARGIN_MODE_"),
        (constants.ExecutionNumber, "SYMBOL_TRADE_EXECUTION_"),
        (constants.PositionKind, "POSITION_TYPE_"),
    ],
)
def test_our_numbers_are_the_packages(ours: type[IntEnum], prefix: str) -> None:
    assert {member.name: member.value for member in ours} == {
        name.removeprefix(prefix): value for name, value in package_numbers(prefix).items()
    }


def test_our_reasons_are_the_packages_reasons_of_deals() -> None:
    theirs = {name.removeprefix("DEAL_REASON_"): value for name, value in package_numbers("DEAL_REASON_").items()}
    assert {member.name: member.value for member in constants.Reason}.items() <= theirs.items()
