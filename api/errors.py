"""Problems: every answer that is no success, as RFC 9457 says, with a stable `code` and what a repeat would do.

`retry` is for machines: `safe` says that nothing was changed and the request may be sent again at once; `after`
that the same request, under the same id, may be sent again once `Retry-After` has passed, whether or not this one
acted; `unsafe` that it may have acted: look before sending anything new.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any
from uuid import UUID

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from domain import errors


class Retry(StrEnum):
    SAFE = "safe"
    UNSAFE = "unsafe"
    AFTER = "after"


@dataclass(frozen=True, kw_only=True)
class FieldFault:
    """What is wrong with one field, named as the caller wrote it."""

    field: str
    message: str


class Problem(Exception):
    """An answer that is no success; raise it from any route."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        retry: Retry = Retry.SAFE,
        faults: Sequence[FieldFault] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        """`members` go into the document, beside those that every problem has."""
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.retry = retry
        self.faults = tuple(faults)
        self.headers = dict(headers or {})
        self.members = dict(members or {})
        if retry is Retry.AFTER:
            self.headers.setdefault("Retry-After", "1")


# One row per operating fault; a test walks the subclasses, so that none is forgotten.
PIPELINE_PROBLEMS: dict[type[errors.PipelineError], tuple[int, Retry]] = {
    errors.IllegalTransition: (409, Retry.SAFE),
    errors.IntentConflict: (409, Retry.SAFE),
    errors.TradeNotFound: (404, Retry.SAFE),
    errors.PositionNotFound: (404, Retry.SAFE),
    errors.AccountNotFound: (404, Retry.SAFE),
    errors.CommandConflict: (409, Retry.SAFE),
    errors.NotCancellable: (409, Retry.SAFE),
    errors.NotUnresolved: (409, Retry.SAFE),
    errors.StopNotFound: (404, Retry.SAFE),
    errors.StopConflict: (409, Retry.SAFE),
    errors.StopPlaceUnknown: (422, Retry.SAFE),
    errors.NotStopped: (409, Retry.SAFE),
    errors.CauseRemains: (409, Retry.SAFE),
    errors.OrderTaken: (409, Retry.SAFE),
    errors.ReservationConflict: (409, Retry.SAFE),
    errors.BrokerUnavailable: (503, Retry.AFTER),
    errors.BrokerMismatch: (503, Retry.AFTER),
    errors.ClockMismatch: (503, Retry.AFTER),
    errors.ContractsUnchanged: (409, Retry.SAFE),
    errors.DiscrepancyNotFound: (404, Retry.SAFE),
    errors.DiscrepancyDecided: (409, Retry.SAFE),
    errors.DecisionRefused: (422, Retry.SAFE),
    errors.LeaseLost: (503, Retry.AFTER),
    errors.LimitTermRefused: (422, Retry.SAFE),
    errors.LimitValueRefused: (422, Retry.SAFE),
    errors.LooseningRefused: (403, Retry.SAFE),
}

_HTTP_CODES = {
    400: "malformed_request",
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
}


def invalid(faults: Sequence[FieldFault]) -> Problem:
    fields = ", ".join(dict.fromkeys(fault.field for fault in faults))
    return Problem(422, "validation_failed", f"refused, nothing was changed: {fields}", faults=faults)


def pipeline_unavailable() -> Problem:
    return Problem(
        503,
        "pipeline_unavailable",
        "the workflow server did not confirm in time; send the same request again, under the same id",
        retry=Retry.AFTER,
    )


def of_code(code: str | None, detail: str) -> Problem | None:
    """The problem of an operating fault that came back from a workflow by its code; None if it is none of them."""
    for fault, (status, retry) in PIPELINE_PROBLEMS.items():
        if fault.code == code:
            return Problem(status, fault.code, detail, retry=retry)
    return None


def trade_forgotten(trade_id: UUID) -> Problem:
    detail = (
        f"trade {trade_id} was carried out before, and the books do not have it: they may have been put back; "
        "nothing was sent now, and an operator has to reset its workflow"
    )
    return Problem(503, "trade_forgotten", detail, retry=Retry.UNSAFE)


def database_unavailable() -> Problem:
    return Problem(503, "database_unavailable", "the books cannot be reached now", retry=Retry.AFTER)


def unforeseen() -> Problem:
    detail = "an unforeseen failure; it is in our log under this request id"
    return Problem(500, "internal_error", detail, retry=Retry.UNSAFE)


def document(problem: Problem, request_id: str) -> dict[str, Any]:
    listed = [{"field": fault.field, "message": fault.message} for fault in problem.faults]
    return {
        "type": f"/problems/{problem.code}",
        "title": problem.code.replace("_", " ").capitalize(),
        "status": problem.status,
        "detail": problem.detail,
        "code": problem.code,
        "request_id": request_id,
        "retry": problem.retry,
        **({"errors": listed} if listed else {}),
        **problem.members,
    }


def response(problem: Problem, request_id: str) -> JSONResponse:
    return JSONResponse(
        document(problem, request_id),
        status_code=problem.status,
        headers=problem.headers,
        media_type="application/problem+json",
    )


def install(app: FastAPI) -> None:
    """Answer every exception that a route may raise with a problem; what is left reaches the outer middleware."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> JSONResponse:
        return response(error, request.state.request_id)

    @app.exception_handler(errors.PipelineError)
    async def _pipeline(request: Request, error: errors.PipelineError) -> JSONResponse:
        status, retry = PIPELINE_PROBLEMS[type(error)]
        return response(Problem(status, error.code, str(error), retry=retry), request.state.request_id)

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError) -> JSONResponse:
        return response(_from_validation(error), request.state.request_id)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        code = _HTTP_CODES.get(error.status_code, HTTPStatus(error.status_code).name.lower())
        problem = Problem(error.status_code, code, error.detail, headers=error.headers)
        return response(problem, request.state.request_id)


def _from_validation(error: RequestValidationError) -> Problem:
    found = error.errors()
    if any(each["type"] == "json_invalid" for each in found):
        return Problem(400, "malformed_json", "the body is no JSON")
    return invalid([FieldFault(field=_field(each["loc"]), message=_message(each)) for each in found])


def _field(location: Sequence[int | str]) -> str:
    """The field as the caller wrote it: without the part of the request, which is only named if it is all."""
    parts = [str(part) for part in location]
    return ".".join(parts[1:]) or parts[0]


def _message(found: Mapping[str, Any]) -> str:
    # A validator's own words come behind a prefix of Pydantic's.
    return str(found["msg"]).removeprefix("Value error, ")
