"""The command line as a client of the REST API: which API, as whom, and refusals in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from stack.errors import StackError
from stack.secret_files import SecretFiles
from stack.state import StateFolder

DEMO_TRADER = "trader"
DEMO_TRADER_SECRET = "demo_trader"  # noqa: S105 - the name of a file
TIMEOUT_SECONDS = 15.0


@dataclass(frozen=True, kw_only=True)
class Caller:
    """An API by its address, and the bearer token that is sent to it."""

    url: str
    token: str


def find_caller(state: StateFolder, *, url: str | None, token: str | None) -> Caller:
    """The API that was named, which needs a token, or that of the running stack, where its demo trader logs in."""
    if url is not None:
        if token is None:
            raise StackError(f"{url} needs a token; give one with --token or NEXUS_TOKEN")
        return Caller(url=url, token=token)
    running = state.running()
    if running is None:
        raise StackError(f"no stack runs on {state.root}; start it with `nexus up` or name an API with --url")
    return Caller(url=running.urls.api, token=token or _demo_token(state, running.urls.api))


def log_in(url: str, *, username: str, password: str) -> str:
    with client(url) as api:
        answer = api.post("/api/auth/login", json={"username": username, "password": password})
        if "access_token" not in answer.json():
            raise StackError(
                f"{username} has a second factor, which no command can ask for; give a token with --token"
            )
        token: str = answer.json()["access_token"]
        return token


@contextmanager
def client(url: str, token: str | None = None) -> Iterator[httpx.Client]:
    """An httpx client whose refusals and failures are StackErrors of one line."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with httpx.Client(
        base_url=url,
        headers=headers,
        timeout=TIMEOUT_SECONDS,
        # A proxy meant for the outside has no way to this machine's own loopback.
        trust_env=not url.startswith("http://127.0.0.1:"),
        event_hooks={"response": [_raise_problem]},
    ) as opened:
        try:
            yield opened
        except httpx.TransportError as error:
            raise StackError(f"the API at {url} does not answer: {str(error) or type(error).__name__}") from error


def _demo_token(state: StateFolder, url: str) -> str:
    password = SecretFiles(state.secrets).read(DEMO_TRADER_SECRET)
    if password is None:
        raise StackError(
            f"{state.secrets / DEMO_TRADER_SECRET} is missing; give a token with --token or NEXUS_TOKEN"
        )
    return log_in(url, username=DEMO_TRADER, password=password)


def _raise_problem(response: httpx.Response) -> None:
    """Turn a refusal into one line; RFC 9457 documents carry a code, a detail and the wrong fields."""
    if response.is_success:
        return
    response.read()
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    what = problem.get("detail") or problem.get("title") or response.reason_phrase
    if problem.get("errors"):
        what = "; ".join(f"{fault['field']}: {fault['message']}" for fault in problem["errors"])
    code = f" {problem['code']}" if problem.get("code") else ""
    raise StackError(
        f"{response.request.method} {response.request.url.path}: {response.status_code}{code}: {what}"
    )
