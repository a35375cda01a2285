"""What happens to terminal, account and contracts stops orders by its name, and no longer than it has to."""

from collections.abc import Callable

from brokers.simulator.control import Control
from brokers.simulator.faults import AccountSwitched, ClockStepped, LinkLost, QueryFailure, TerminalRestarted
from db.accounts import read_account
from db.watch import accept_contract
from domain.orders import OrderState
from tests.desk import Desk
from tests.waiting import until
from tests.workflows.asking import reservation_state, sends_of
from tests.workflows.test_positions import closing, open_position

Hand = Callable[[Control], None]

# What happens, by which name orders are then denied, and what ends it (None: it ends by itself).
HAPPENINGS: tuple[tuple[str, Hand, Hand | None], ...] = (
    (
        "algo_trading_off",
        lambda control: control.happen(TerminalRestarted(algo_off=True)),
        lambda control: control.set_switches(trade_allowed=True),
    ),
    (
        "python_trading_off",
        lambda control: control.set_switches(tradeapi_disabled=True),
        lambda control: control.set_switches(tradeapi_disabled=False),
    ),
    (
        "account_read_only",
        lambda control: control.set_switches(account_trade_allowed=False),
        lambda control: control.set_switches(account_trade_allowed=True),
    ),
    ("broker_disconnected", lambda control: control.happen(LinkLost(ms=1200)), None),
    ("account_mismatch", lambda control: control.happen(AccountSwitched(ms=1200)), None),
    (
        "clock_mismatch",
        lambda control: control.happen(ClockStepped(hours=1)),
        lambda control: control.happen(ClockStepped(hours=-1)),
    ),
)


async def conditions(desk: Desk) -> list[str]:
    return [row["kind"] for row in await desk.rows("SELECT kind FROM account_conditions")]


async def codes(desk: Desk) -> list[str]:
    """The codes of the newest trade's denials."""
    denials = await desk.scalar("SELECT denials FROM trade_ledger ORDER BY accepted_at DESC LIMIT 1")
    return [denial["code"] for denial in denials]


async def test_whatever_forbids_trading_denies_by_its_name_and_ends_with_its_cause(desk: Desk) -> None:
    for name, happens, ends in HAPPENINGS:

        async def holds(name: str = name) -> bool:
            return await conditions(desk) == [name]

        async def is_over() -> bool:
            return await conditions(desk) == []

        happens(desk.control)
        await until(holds, what=f"{name} to be noticed")
        denied = desk.intent()
        assert (await desk.execute(denied)).state is OrderState.DENIED
        assert await codes(desk) == [name]
        assert sends_of(desk, await desk.trade(denied)) == []

        if ends is not None:
            ends(desk.control)
        await until(is_over, what=f"{name} to end")
        passed = desk.intent()
        assert (await desk.execute(passed)).state is OrderState.FILLED, name

    alerts = await desk.rows("SELECT kind FROM alerts WHERE cleared_at IS NOT NULL ORDER BY id")
    assert [alert["kind"] for alert in alerts] == [name for name, _, _ in HAPPENINGS]
    logins = await desk.scalar("SELECT count(*) FROM account_snapshots WHERE balance = 0")
    assert logins == 0, "the other account is empty, and never came into the books"


async def test_a_contract_that_the_feed_has_not_seen_yet_is_refused_at_the_send(desk: Desk) -> None:
    desk.control.script("*", [QueryFailure()], op="symbols_get", repeat=True)
    desk.control.set_symbol("EURUSD", contract="1000")

    intent = desk.intent()
    assert (await desk.execute(intent)).state is OrderState.DENIED

    (denial,) = await desk.scalar("SELECT denials FROM trade_ledger")
    assert (denial["gate"], denial["code"]) == ("submit", "contract_changed")
    assert denial["detail"] == {"contract_size": "1000 instead of 100000"}
    trade = await desk.settled(intent)
    assert (sends_of(desk, trade), await reservation_state(desk, intent)) == ([], "released")


async def test_a_changed_contract_opens_nothing_closes_what_is_open_and_goes_on_once_accepted(desk: Desk) -> None:
    _, position_id = await open_position(desk)
    desk.control.set_symbol("EURUSD", contract="1000")

    async def waits() -> bool:
        return bool(await desk.rows("SELECT 1 FROM contract_changes WHERE term = 'contract_size'"))

    await until(waits, what="the new contract to be noticed")
    assert (await desk.execute(desk.intent())).state is OrderState.DENIED
    assert await codes(desk) == ["contract_changed"]

    assert (await desk.execute(closing(desk, position_id))).state is OrderState.FILLED
    assert desk.control.books().positions == ()

    async with desk.engine.begin() as connection:
        account = await read_account(connection, desk.slug)
        await accept_contract(
            connection, account, "EURUSD", actor="command:jane", reason="announced by the broker"
        )
    desk.control.tick("EURUSD", "1.10001", "1.10011")
    assert (await desk.execute(desk.intent())).state is OrderState.FILLED
