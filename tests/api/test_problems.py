"""Whatever goes wrong is a problem document with a known code, a request id and safe headers."""

import re
from dataclasses import replace

import asyncpg
import httpx
import pytest

from api import errors
from api.app import create_app
from api.errors import PIPELINE_PROBLEMS, Retry
from api.middleware import BODY_BYTES_MAX
from domain.errors import PipelineError
from tests.api.books import id_of
from tests.api.conftest import Api, bearer, elsewhere, order, running
from tests.waiting import free_port

MEMBERS = {"type", "title", "status", "detail", "code", "request_id", "retry"}


def check_problem(answer: httpx.Response, *, status: int, code: str) -> None:
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(problem) - {"errors"} == MEMBERS
    assert problem["status"] == status
    assert problem["type"] == f"/problems/{code}"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["retry"] in set(Retry)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("name", "method", "path", "status", "code"),
    [
        (None, "GET", "/nowhere", 404, "not_found"),
        (None, "GET", "/api/auth/login", 405, "method_not_allowed"),
        (None, "GET", "/api/trading/trades", 401, "token_missing"),
        (None, "POST", "/api/trading/execute", 401, "token_missing"),
        ("trader", "GET", "/api/trading/trades/not-an-id", 422, "validation_failed"),
        ("trader", "GET", f"/api/trading/trades/{id_of('missing')}", 404, "trade_not_found"),
        ("trader", "GET", "/api/trading/trades?state=odd", 422, "validation_failed"),
        ("trader", "GET", "/api/trading/trades?account=Odd!", 422, "validation_failed"),
        ("trader", "GET", "/api/trading/trades?symbol=%00", 422, "validation_failed"),
        ("trader", "POST", "/api/trading/positions/0/close", 422, "validation_failed"),
        ("viewer", "POST", f"/api/trading/trades/{id_of('missing')}/cancel", 403, "role_forbidden"),
    ],
)
async def test_c2_wrong_request_is_a_problem(
    api: Api, name: str | None, method: str, path: str, status: int, code: str
) -> None:
    body = {"json": order("x")} if method == "POST" and "execute" in path else {}
    check_problem(await api.call(name, method, path, **body), status=status, code=code)


async def test_c5_body_above_the_limit_is_413_however_it_comes(api: Api) -> None:
    async def in_parts():
        for _ in range(BODY_BYTES_MAX // 1024 + 1):
            yield b"x" * 1024

    headers = {"Content-Type": "application/json"}
    stated = await api.call(
        "trader", "POST", "/api/trading/execute", content=b"x" * (BODY_BYTES_MAX + 1), headers=headers
    )
    parts = await api.call("trader", "POST", "/api/trading/execute", content=in_parts(), headers=headers)

    check_problem(stated, status=413, code="body_too_large")
    check_problem(parts, status=413, code="body_too_large")


async def test_database_away_is_503_for_every_route_that_reads_it(api: Api) -> None:
    away = replace(api.settings, database_url=f"postgresql+asyncpg://x:y@127.0.0.1:{free_port()}/none")
    async with running(away) as http:
        for method, path, body in (
            ("POST", "/api/trading/execute", order("db-away")),
            ("GET", "/api/trading/trades", None),
            ("POST", "/api/auth/login", {"username": "trader", "password": "x"}),
        ):
            answer = await http.request(method, path, json=body, headers=bearer("trader"))
            check_problem(answer, status=503, code="database_unavailable")
            assert answer.headers["retry-after"] == "1"


async def test_connection_that_broke_is_replaced_before_the_caller_sees_it(api: Api) -> None:
    administrator = await asyncpg.connect(api.database.admin_url)
    async with running(api.settings) as http:
        for _ in range(3):
            assert (await http.get("/api/auth/profile", headers=bearer("trader"))).status_code == 200
            ended = await administrator.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'api'"
            )
            assert ended > 0
    await administrator.close()


async def test_unforeseen_failure_is_500_without_its_cause(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(api.settings)

    @app.get("/breaks")
    async def breaks() -> None:
        raise ZeroDivisionError("a secret of ours")

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api.test") as http:
        answer = await http.get("/breaks")

    check_problem(answer, status=500, code="internal_error")
    assert answer.json()["retry"] == "unsafe"
    assert "secret" not in answer.text
    assert answer.json()["request_id"] in caplog.text


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1", True), ("", False), ("a b", False), ("x" * 65, False), ("a\tb", False)]
)
async def test_request_id_is_kept_if_it_is_one(api: Api, given: str, *, kept: bool) -> None:
    answer = await api.http.get("/api/system/health", headers={"X-Request-Id": given})

    assert (answer.headers["x-request-id"] == given) is kept
    assert re.fullmatch(r"[A-Za-z0-9._:-]{1,64}", answer.headers["x-request-id"])


def test_every_operating_fault_has_its_answer() -> None:
    def below(kind: type[PipelineError]) -> set[type[PipelineError]]:
        return {kind} | {each for child in kind.__subclasses__() for each in below(child)}

    faults = {each for each in below(PipelineError) if each.__module__ == "domain.errors"}
    assert faults - {PipelineError} == set(PIPELINE_PROBLEMS)


async def test_health_is_200_while_all_is_there_and_names_what_is_away(api: Api) -> None:
    well = await api.http.get("/api/system/health")
    async with running(elsewhere(api.settings, address=f"127.0.0.1:{free_port()}")) as http:
        ill = await http.get("/api/system/health")

    assert (well.status_code, well.json()["ok"]) == (200, True)
    assert well.json()["database"]["ms"] >= 0
    assert ill.status_code == 503
    assert (ill.json()["database"]["ok"], ill.json()["temporal"]["ok"]) == (True, False)


async def test_docs_show_problems_the_token_and_examples(api: Api) -> None:
    page = await api.http.get("/docs")
    document = (await api.http.get("/openapi.json")).json()

    assert page.status_code == 200
    assert "swagger" in page.text.lower()
    assert "cdn.jsdelivr.net" in page.headers["content-security-policy"]
    execute = document["paths"]["/api/trading/execute"]["post"]
    assert execute["security"] == [{"HTTPBearer": []}, {"SignedRequest": []}]
    assert set(execute["responses"]) == {"201", "202", "default"}
    assert "application/problem+json" in execute["responses"]["default"]["content"]
    body = document["components"]["schemas"]["ExecuteBody"]
    assert body["additionalProperties"] is False
    answer = await api.execute({**body["examples"][0], "account": "demo"})
    assert answer.status_code == 201


def test_every_problem_says_what_a_repeat_would_do() -> None:
    assert errors.pipeline_unavailable().retry is errors.database_unavailable().retry is Retry.AFTER
    assert errors.unforeseen().retry is Retry.UNSAFE
