"""The client in docs/api-keys.md, run as it stands there against a process of the API."""

import asyncio
import re
from typing import Any

import httpx

from api.rights import Scope
from stack.state import CHECKOUT
from tests.api.conftest import KEY, Api
from tests.api.signing import add_program, trader_on_demo
from tests.api.test_main import started
from tests.waiting import free_port, until

DOCUMENT = (CHECKOUT / "docs" / "api-keys.md").read_text(encoding="utf-8")


async def test_client_of_the_document_trades_and_reads(api: Api) -> None:
    trader = await trader_on_demo(api)
    program = await add_program(api.database, trader.id, Scope.READ, Scope.TRADE, networks=("127.0.0.0/8",))
    client, use = re.findall(r"```python\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    port = free_port()
    process = await started(
        DATABASE_URL=api.settings.database_url,
        SECRET_KEY=KEY.decode(),
        TEMPORAL_ADDRESS=api.settings.temporal.address,
        TEMPORAL_NAMESPACE=api.settings.temporal.namespace,
        API_PORT=str(port),
    )

    async def healthy() -> bool:
        try:
            return (await http.get(f"http://127.0.0.1:{port}/api/system/health")).status_code == 200
        except httpx.TransportError:
            return False

    printed: list[Any] = []
    names = {"key_id": str(program.key_id), "secret": program.secret, "print": printed.append}
    try:
        async with httpx.AsyncClient() as http:
            await until(healthy, what="the API to be healthy")
        code = client + use.replace(":8002", f":{port}")
        await asyncio.to_thread(exec, code, names)
    finally:
        process.terminate()
        await process.communicate()
    assert printed[0] == "filled"
    assert [each["client_order_id"] for each in printed[1]["items"]] == ["grid-7-1"]


def test_every_scope_is_in_the_document() -> None:
    assert re.findall(r"^\| `([a-z]+)` \|", DOCUMENT, flags=re.MULTILINE) == [str(scope) for scope in Scope]
