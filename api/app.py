"""The REST API, put together by hand."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.middleware.cors import CORSMiddleware

from api import (
    approvals,
    audit,
    auth,
    closings,
    commands,
    discrepancies,
    errors,
    executions,
    factors,
    keys,
    ledger,
    limits,
    logins,
    openapi,
    positions,
    reconciliation,
    resuming,
    reversals,
    risk,
    sizes,
    stops,
    system,
    trades,
)
from api.books import BooksUnavailable
from api.connections import open_connections
from api.dependencies import caller, principal
from api.middleware import BodyLimit, RequestEdge, TimeLimit
from api.passwords import PasswordsBusy
from api.rights import check_routes
from settings import ApiSettings
from version import RELEASE


def create_app(settings: ApiSettings) -> FastAPI:
    """The application; it opens its connections when it starts and closes them when it ends."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_connections(settings) as connections:
            app.state.connections = connections
            yield

    app = FastAPI(title="Nexus", version=RELEASE, lifespan=lifespan, redoc_url=None)
    app.add_middleware(BodyLimit)
    app.add_middleware(TimeLimit)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=[
                "Authorization",
                "Content-Type",
                "Idempotency-Key",
                "Traceparent",
                "X-Deadline",
                "X-Request-Id",
            ],
            expose_headers=["Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-Id"],
        )
    app.add_middleware(RequestEdge)
    errors.install(app)
    _install_outages(app)
    for module in (
        *(logins, auth, factors, keys),
        *(executions, risk, limits, sizes, closings, reversals, trades, commands, positions, ledger),
        *(reconciliation, discrepancies, stops, resuming, approvals, audit, system),
    ):
        app.include_router(module.router)
    check_routes(app, readers=(principal, caller))
    app.openapi = partial(openapi.describe, app)  # type: ignore[method-assign] # FastAPI's documented way
    return app


def _install_outages(app: FastAPI) -> None:
    @app.exception_handler(BooksUnavailable)
    async def _books(request: Request, _: BooksUnavailable) -> JSONResponse:
        return errors.response(errors.database_unavailable(), request.state.request_id)

    @app.exception_handler(PasswordsBusy)
    async def _passwords(request: Request, _: PasswordsBusy) -> JSONResponse:
        problem = errors.Problem(
            503, "login_busy", "too many logins are being checked now", retry=errors.Retry.AFTER
        )
        return errors.response(problem, request.state.request_id)
