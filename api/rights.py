"""Who may do what: the rights, whose they are, and which one each route asks for.

1. A route that has no line in `ROUTES` keeps the API from starting.
2. The right of a route is checked where its caller is read, and nowhere else: in `api/dependencies.py`, and for
   orders, which read their caller together with the rest, in `api/placing.py`. Who reads none is `OPEN`.
3. An API key has what its scopes say, and of that only what its user's role has as well.
4. What is another user's is not found, whatever the right: the queries see to that, by `scope_of`.
"""

from collections.abc import Iterable
from enum import StrEnum

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import compile_path

from api.errors import Problem
from db.users import Role


class Right(StrEnum):
    """`OPEN` asks for nobody's name; `SELF` is over one's own password, sessions and factors."""

    OPEN = "open"
    READ = "read"
    PREVIEW = "preview"
    TRADE = "trade"
    CANCEL = "cancel"
    CLOSE = "close"
    STOP = "stop"
    RECONCILE = "reconcile"
    DECIDE = "decide"
    REVIEW = "review"
    LIMIT = "limit"
    RESUME = "resume"
    APPROVE = "approve"
    AUDIT = "audit"
    SELF = "self"
    KEYS = "keys"


class Scope(StrEnum):
    """What an API key is for."""

    READ = "read"
    TRADE = "trade"
    CANCEL = "cancel"
    ADMIN = "admin"


_EVERYBODY = frozenset(Role)
_TRADERS = _EVERYBODY - {Role.VIEWER}
_OVERSEERS = frozenset({Role.RISK, Role.ADMIN})

ROLES: dict[Right, frozenset[Role]] = {
    Right.OPEN: _EVERYBODY,
    Right.READ: _EVERYBODY,
    Right.PREVIEW: _TRADERS,
    Right.TRADE: _TRADERS,
    Right.CANCEL: _TRADERS,
    Right.CLOSE: _TRADERS,
    Right.STOP: _TRADERS,
    Right.RECONCILE: _TRADERS,
    Right.DECIDE: _OVERSEERS,
    Right.REVIEW: _OVERSEERS,
    Right.LIMIT: _OVERSEERS,
    Right.RESUME: _OVERSEERS,
    Right.APPROVE: _OVERSEERS,
    Right.AUDIT: _OVERSEERS,
    Right.SELF: _EVERYBODY,
    Right.KEYS: _EVERYBODY,
}

# Opening trading again, a second person's word, and what guards an account are never a program's.
_CALM = frozenset({Right.CANCEL, Right.CLOSE, Right.STOP})
SCOPES: dict[Scope, frozenset[Right]] = {
    Scope.READ: frozenset({Right.READ, Right.PREVIEW}),
    Scope.TRADE: frozenset({Right.PREVIEW, Right.TRADE}) | _CALM,
    Scope.CANCEL: _CALM,
    Scope.ADMIN: frozenset({Right.RECONCILE, Right.DECIDE, Right.REVIEW, Right.LIMIT, Right.AUDIT}),
}

# What a user's role has to have for them to give a key the scope.
_GIVEN_BY: dict[Scope, Right] = {
    Scope.READ: Right.READ,
    Scope.TRADE: Right.TRADE,
    Scope.CANCEL: Right.CANCEL,
    Scope.ADMIN: Right.LIMIT,
}

# What no lockout and no bucket of other requests may ever hold up.
NEVER_HELD_UP = _CALM

ROUTES: dict[tuple[str, str], Right] = {
    ("GET", "/docs"): Right.OPEN,
    ("GET", "/docs/oauth2-redirect"): Right.OPEN,
    ("GET", "/openapi.json"): Right.OPEN,
    ("POST", "/api/auth/login"): Right.OPEN,
    ("POST", "/api/auth/login/factor"): Right.OPEN,
    ("POST", "/api/auth/refresh"): Right.OPEN,
    ("POST", "/api/auth/logout"): Right.SELF,
    ("GET", "/api/auth/profile"): Right.READ,
    ("GET", "/api/auth/sessions"): Right.SELF,
    ("DELETE", "/api/auth/sessions"): Right.SELF,
    ("DELETE", "/api/auth/sessions/{session_id}"): Right.SELF,
    ("POST", "/api/auth/password"): Right.SELF,
    ("POST", "/api/auth/step-up"): Right.SELF,
    ("POST", "/api/auth/step-up/passkey"): Right.SELF,
    ("GET", "/api/auth/factors"): Right.SELF,
    ("POST", "/api/auth/factors/totp"): Right.SELF,
    ("POST", "/api/auth/factors/{factor_id}/confirm"): Right.SELF,
    ("POST", "/api/auth/factors/webauthn/options"): Right.SELF,
    ("POST", "/api/auth/factors/webauthn"): Right.SELF,
    ("POST", "/api/auth/factors/recovery-codes"): Right.SELF,
    ("DELETE", "/api/auth/factors/{factor_id}"): Right.SELF,
    ("GET", "/api/auth/keys"): Right.KEYS,
    ("POST", "/api/auth/keys"): Right.KEYS,
    ("DELETE", "/api/auth/keys/{key_id}"): Right.KEYS,
    ("POST", "/api/auth/keys/{key_id}/rotate"): Right.KEYS,
    ("POST", "/api/trading/execute"): Right.TRADE,
    ("POST", "/api/trading/preview"): Right.PREVIEW,
    ("POST", "/api/trading/size"): Right.PREVIEW,
    ("GET", "/api/trading/risk"): Right.READ,
    ("GET", "/api/trading/limits"): Right.READ,
    ("GET", "/api/trading/limits/history"): Right.READ,
    ("PUT", "/api/trading/limits/{name}"): Right.LIMIT,
    ("GET", "/api/trading/trades"): Right.READ,
    ("GET", "/api/trading/trades/{trade_id}"): Right.READ,
    ("GET", "/api/trading/trades/{trade_id}/events"): Right.READ,
    ("POST", "/api/trading/trades/{trade_id}/cancel"): Right.CANCEL,
    ("POST", "/api/trading/trades/{trade_id}/modify"): Right.TRADE,
    ("POST", "/api/trading/trades/{trade_id}/resolve"): Right.DECIDE,
    ("GET", "/api/trading/positions"): Right.READ,
    ("POST", "/api/trading/positions/{position_id}/close"): Right.CLOSE,
    ("POST", "/api/trading/positions/{position_id}/close-by"): Right.CLOSE,
    ("POST", "/api/trading/positions/{position_id}/reverse"): Right.TRADE,
    ("GET", "/api/trading/ledger"): Right.READ,
    ("POST", "/api/trading/reconcile"): Right.RECONCILE,
    ("GET", "/api/reconciliation/runs"): Right.READ,
    ("GET", "/api/reconciliation/discrepancies"): Right.READ,
    ("GET", "/api/reconciliation/discrepancies/{discrepancy_id}"): Right.READ,
    ("POST", "/api/reconciliation/discrepancies/{discrepancy_id}/decide"): Right.REVIEW,
    ("GET", "/api/system/health"): Right.OPEN,
    ("GET", "/api/system/status"): Right.READ,
    ("POST", "/api/system/emergency-stop"): Right.STOP,
    ("GET", "/api/system/stops"): Right.READ,
    ("GET", "/api/system/stops/{stop_id}"): Right.READ,
    ("POST", "/api/system/resume"): Right.RESUME,
    ("GET", "/api/audit"): Right.AUDIT,
    ("GET", "/api/audit/status"): Right.AUDIT,
    ("POST", "/api/audit/faults/{fault_id}/accept"): Right.REVIEW,
    ("GET", "/api/approvals"): Right.APPROVE,
    ("GET", "/api/approvals/{approval_id}"): Right.APPROVE,
    ("POST", "/api/approvals/{approval_id}/approve"): Right.APPROVE,
    ("POST", "/api/approvals/{approval_id}/refuse"): Right.APPROVE,
}

_PATTERNS = {template: compile_path(template)[0] for _, template in ROUTES}

_REFUSALS: dict[Right, str] = {
    Right.DECIDE: "an unresolved trade is decided",
    Right.REVIEW: "what was found to be wrong is decided",
    Right.LIMIT: "limits are changed",
    Right.RESUME: "trading is opened again",
    Right.APPROVE: "what waits for a second person is decided",
    Right.AUDIT: "the audit record is read",
}


class RouteWithoutRight(Exception):
    """A route was added, and nobody said who may call it."""


def has_right(right: Right, role: Role) -> bool:
    return role in ROLES[right]


def may_give(scope: Scope, role: Role) -> bool:
    return has_right(_GIVEN_BY[scope], role)


def check_role(right: Right, role: Role) -> None:
    """Raise the problem for a role that does not have the right."""
    if has_right(right, role):
        return
    if right in _REFUSALS:
        allowed = " and ".join(each for each in Role if each in ROLES[right])
        raise Problem(403, "role_forbidden", f"{_REFUSALS[right]} by the roles {allowed}")
    raise Problem(403, "role_forbidden", "a viewer may look and change nothing")


def check_scopes(right: Right, scopes: Iterable[Scope]) -> None:
    """Raise the problem for an API key whose scopes do not reach to the right."""
    if any(right in SCOPES[scope] for scope in scopes):
        return
    reaching = [scope for scope in Scope if right in SCOPES[scope]]
    mend = f"make one with the scope {' or '.join(reaching)}" if reaching else "log in instead"
    raise Problem(403, "scope_forbidden", f"no scope of this API key reaches here; {mend}")


def check_routes(app: FastAPI, *, readers: Iterable[object]) -> None:
    """Raise RouteWithoutRight unless every route has its right, and reads its caller by one of `readers`."""
    known = set(readers)
    for route in iter_route_contexts(app.routes):
        for method in (route.methods or set()) - {"HEAD"}:
            place = f"{method} {route.path}"
            right = ROUTES.get((method, route.path or ""))
            if right is None:
                raise RouteWithoutRight(f"{place} has no right; give it one in ROUTES of api/rights.py")
            dependant = getattr(route, "dependant", None)
            if right is not Right.OPEN and not known & set(_calls(dependant)):
                raise RouteWithoutRight(f"{place} asks for {right} and never reads its caller")


def methods_at(path: str) -> frozenset[str]:
    """The methods of the route that a path is meant for: the one that names most of it, where several match."""
    matching = [template for template, pattern in _PATTERNS.items() if pattern.match(path)]
    if not matching:
        return frozenset()
    nearest = min(matching, key=lambda template: template.count("{"))
    return frozenset(method for method, template in ROUTES if template == nearest)


def _calls(dependant: object) -> Iterable[object]:
    for each in getattr(dependant, "dependencies", ()):
        yield each.call
        yield from _calls(each)
