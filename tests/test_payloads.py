"""Encrypted payloads: nothing of a trade is readable in what Temporal keeps, and all of it in our processes."""

from pathlib import Path

import httpx
import pytest
from google.protobuf.json_format import MessageToDict
from temporalio.api.common.v1 import Payload, Payloads, WorkflowExecution
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest
from temporalio.client import Client

from domain.orders import OrderState
from payloads import ENCODING, EncryptedPayloads, PayloadUnreadable
from settings import SettingsError, TemporalSettings
from stack.codec_server import codec_app
from stack.scratch import Database
from tests.desk import open_desk

OLD, NEW = b"an old key of thirty two bytes....", b"a new key of thirty two bytes....."
PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'{"volume":"0.10"}')
KEY = "f0e1d2c3b4a5968778695a4b3c2d1e0f"
UI = "http://127.0.0.1:8233"


async def test_a_payload_comes_back_as_it_was_and_never_twice_the_same_way() -> None:
    codec = EncryptedPayloads([NEW])
    first, second = await codec.encode([PLAIN, PLAIN])
    assert first.data != second.data
    assert b"volume" not in first.SerializeToString()
    assert await codec.decode([first, second]) == [PLAIN, PLAIN]


async def test_a_new_key_reads_what_the_one_before_it_wrote_and_what_was_written_in_clear() -> None:
    (older,) = await EncryptedPayloads([OLD]).encode([PLAIN])
    rotated = EncryptedPayloads([NEW, OLD])
    assert await rotated.decode([older, PLAIN]) == [PLAIN, PLAIN]
    with pytest.raises(PayloadUnreadable, match="TEMPORAL_CODEC_KEY_PREVIOUS"):
        await EncryptedPayloads([NEW]).decode([older])


async def test_a_payload_that_somebody_changed_is_told() -> None:
    codec = EncryptedPayloads([NEW])
    (payload,) = await codec.encode([PLAIN])
    payload.data = payload.data[:-1] + bytes([payload.data[-1] ^ 1])
    with pytest.raises(PayloadUnreadable, match="somebody changed it"):
        await codec.decode([payload])


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"TEMPORAL_CODEC_KEY": "short"}, "at least 32"),
        ({"TEMPORAL_CODEC_KEY": KEY, "TEMPORAL_CODEC_KEY_PREVIOUS": KEY}, "is TEMPORAL_CODEC_KEY itself"),
        ({"TEMPORAL_CODEC_KEY_PREVIOUS": KEY}, "is set without TEMPORAL_CODEC_KEY"),
    ],
)
def test_a_wrong_key_is_named(variables: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        TemporalSettings.from_environ(variables)


async def test_s2_history_of_a_trade_holds_nothing_of_it_in_clear(
    database: Database, temporal_client: Client, tmp_path: Path
) -> None:
    settings = TemporalSettings.from_environ(
        {"TEMPORAL_ADDRESS": temporal_client.service_client.config.target_host, "TEMPORAL_CODEC_KEY": KEY}
    )
    client = await Client.connect(**settings.connect_options())
    async with open_desk(database, client, tmp_path) as desk:
        intent = desk.intent()
        ack = await desk.execute(intent)
        assert ack.state is OrderState.FILLED
        workflow_id = (await desk.trade(intent)).workflow_id
        response = await client.workflow_service.get_workflow_execution_history(
            GetWorkflowExecutionHistoryRequest(
                namespace=client.namespace, execution=WorkflowExecution(workflow_id=workflow_id)
            )
        )
    kept = response.history.SerializeToString()
    for said in (b'"volume"', b'"body_hash"', intent.body_hash.encode(), b"0.10"):
        assert said not in kept, said
    assert kept.count(ENCODING) > 5


def asked(payload: Payload) -> dict[str, object]:
    found: dict[str, object] = MessageToDict(Payloads(payloads=[payload]))
    return found


async def test_the_codec_server_decrypts_for_the_web_ui_and_for_no_other_page() -> None:
    codec = EncryptedPayloads([NEW])
    (payload,) = await codec.encode([PLAIN])
    transport = httpx.ASGITransport(codec_app(codec, origin=UI))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8235") as http:
        answer = await http.post("/decode", json=asked(payload), headers={"Origin": UI})
        assert answer.status_code == 200
        assert answer.json() == asked(PLAIN)
        assert answer.headers["access-control-allow-origin"] == UI

        foreign = await http.post("/decode", json=asked(payload), headers={"Origin": "https://evil.example"})
        assert foreign.status_code == 403
        assert "access-control-allow-origin" not in foreign.headers

        for body, status in (
            (b"{", 400),
            (b'{"payloads": 1}', 400),
            (b"[" * 100_000, 400),
            (b" " * 5_000_000, 400),
        ):
            assert (await http.post("/decode", content=body, headers={"Origin": UI})).status_code == status
        (other,) = await EncryptedPayloads([OLD]).encode([PLAIN])
        assert (await http.post("/decode", json=asked(other), headers={"Origin": UI})).status_code == 422
