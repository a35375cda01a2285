"""What counts against a limit, and which of several limits binds."""

from decimal import Decimal

from hypothesis import given

from domain.controls import Control, ControlScope, ControlState
from domain.limits import Limit, LimitName, LimitUnit, daily_loss_used, strictest
from tests.factories import make_limit, make_usage
from tests.strategies import cents, claims


@given(cents(), claims(), claims())
def test_realised_gains_never_make_room_for_losses(realised: Decimal, open_loss: Decimal, held: Decimal) -> None:
    used = daily_loss_used(make_usage(realised_today=realised, open_loss=open_loss, held_loss=held))

    assert used == open_loss + held + max(Decimal(0), -realised)
    assert used >= open_loss + held


def test_the_lowest_of_several_limits_binds() -> None:
    wide = make_limit(LimitName.PRICE_COLLAR, "200")
    narrow = make_limit(LimitName.PRICE_COLLAR, "50", scope=ControlScope.USER)

    assert strictest((wide, narrow), LimitName.PRICE_COLLAR) is narrow
    assert strictest((wide, narrow), LimitName.DAILY_LOSS) is None


def test_a_stop_blocks_by_its_degree() -> None:
    blocked = {
        (state, reducing): Control(scope=ControlScope.ALL, scope_id="", state=state, reason="test").blocks(
            reducing=reducing
        )
        for state in ControlState
        for reducing in (True, False)
    }
    assert {key for key, value in blocked.items() if value} == {
        (ControlState.HALTED, True),
        (ControlState.HALTED, False),
        (ControlState.REDUCE_ONLY, False),
    }


def test_the_larger_assumed_loss_of_a_stopless_order_binds() -> None:
    limits = tuple(
        Limit(
            name=LimitName.STOPLESS_LOSS, scope=scope, value=Decimal(value), unit=LimitUnit.PERCENT, currency=None
        )
        for scope, value in ((ControlScope.ACCOUNT, 2), (ControlScope.USER, 50))
    )

    assert strictest(limits, LimitName.STOPLESS_LOSS) == limits[1]
