import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.rest import client, find_caller
from stack.state import StateFolder
from tests.waiting import free_port

PROBLEM = {"title": "Conflict", "code": "client_order_id_reused", "detail": "another body came with this id"}

INVALID = {
    "code": "validation_failed",
    "detail": "refused",
    "errors": [{"field": "volume", "message": "off step"}],
}


class Answers(BaseHTTPRequestHandler):
    """Refuses with a problem document, or with a page as a proxy would."""

    def do_GET(self) -> None:
        problem = {"/problem": PROBLEM, "/invalid": INVALID}.get(self.path)
        body = json.dumps(problem).encode() if problem else b"<html>"
        self.send_response(409 if problem else 502)
        self.send_header("Content-Type", "application/problem+json" if problem else "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing on the tests' output."""


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_refusal_is_one_line_with_its_code_and_reason(url: str) -> None:
    with pytest.raises(StackError) as caught, client(url) as api:
        api.get("/problem")
    assert str(caught.value) == "GET /problem: 409 client_order_id_reused: another body came with this id"


def test_a_refused_field_is_named_with_what_is_wrong_with_it(url: str) -> None:
    with pytest.raises(StackError) as caught, client(url) as api:
        api.get("/invalid")
    assert str(caught.value) == "GET /invalid: 409 validation_failed: volume: off step"


def test_a_page_instead_of_a_problem_is_one_line_too(url: str) -> None:
    with pytest.raises(StackError) as caught, client(url) as api:
        api.get("/page")
    assert str(caught.value) == "GET /page: 502: Bad Gateway"


def test_an_api_that_is_away_is_one_line() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(StackError, match=f"the API at {url} does not answer"), client(url) as api:
        api.get("/")


def test_without_a_stack_the_line_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(
        StackError, match=r"no stack runs on .*; start it with `nexus up` or name an API with --url"
    ):
        find_caller(StateFolder(tmp_path), url=None, token=None)


def test_a_named_api_is_never_sent_the_password_of_this_stack(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="needs a token; give one with --token or NEXUS_TOKEN"):
        find_caller(StateFolder(tmp_path), url="http://127.0.0.1:1", token=None)
