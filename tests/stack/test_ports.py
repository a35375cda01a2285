import socket

import pytest

from stack.errors import StackError
from stack.ports import PortClaim, claim_ports
from tests.waiting import free_port


def claim(port: int, wanted_by: str = "PostgreSQL") -> PortClaim:
    return PortClaim(port=port, wanted_by=wanted_by, flag="--postgres-port", variable="POSTGRES_PORT")


async def test_free_ports_pass() -> None:
    await claim_ports([claim(free_port())], wait_seconds=0)


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
async def test_a_taken_port_is_named_with_what_wanted_it_and_how_to_change_it(address: str) -> None:
    with socket.create_server((address, 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(StackError) as caught:
            await claim_ports([claim(port)], wait_seconds=0)
    assert str(caught.value) == (
        f"port {port} is taken, and PostgreSQL wants it; "
        "free it or choose another with --postgres-port or POSTGRES_PORT"
    )


async def test_one_port_for_two_programs_is_refused() -> None:
    port = free_port()
    with pytest.raises(StackError, match=f"port {port} is meant for both PostgreSQL and the API"):
        await claim_ports([claim(port), claim(port, "the API")], wait_seconds=0)
