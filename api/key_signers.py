"""The program that a signed request comes from: its key, whose secret alone can make such a signature.

Looked at in this order: the time, the signature, the address, the nonce. So nobody without the secret learns
anything of a key, or uses up a nonce of it.
"""

import logging
import secrets
from datetime import UTC, datetime

from fastapi import Request

from api.addresses import address_of, comes_from
from api.callers import Key, Principal
from api.connections import Connections
from api.errors import Problem
from api.rights import Right, Scope
from api.signatures import NONCE_KEPT, SignedHeaders, about_key, nonce_reused, signature_refused
from api.vault import VaultKeyMissing
from db.api_keys import ApiKey, Signed, find_key, keep_nonce
from db.sessions import Credential

# What signatures of keys that are not there are compared with, so that they take as long.
_NO_SECRET = secrets.token_bytes(32)

_log = logging.getLogger("api")


async def signer(request: Request, connected: Connections, right: Right) -> Principal:
    """Whom the request's signature speaks for; raises the problem of one that is not right or came before."""
    if "idempotency-key" in request.headers:
        # It decides whether the request acts again, and no signature covers it.
        raise Problem(400, "idempotency_key_unsigned", "a signed request names its client_order_id in the body")
    signed = SignedHeaders.of(request.headers)
    signed.check_time(datetime.now(UTC))
    key = await connected.books.read(lambda connection: find_key(connection, signed.key_id))
    secret = None if key is None else _secret(connected, key)
    right_signature = signed.signs(secret or _NO_SECRET, request.scope, await request.body())
    if key is None or secret is None or not right_signature:
        raise signature_refused()
    address = address_of(request)
    if key.networks and not comes_from(address, key.networks):
        raise Problem(403, "address_forbidden", f"this API key is not for requests from {address}")
    taken = Signed(
        key_id=key.id,
        nonce=signed.nonce,
        expires_at=signed.signed_at + NONCE_KEPT,
        address=address,
        resealed=connected.vault.seal(secret, about=about_key(key.id))
        if connected.vault.outdated(key.secret)
        else None,
    )
    if not await connected.books.read(lambda connection: keep_nonce(connection, taken)):
        raise nonce_reused()
    return Principal(
        user_id=key.user_id,
        right=right,
        credential=Credential(key_id=key.id),
        expires_at=key.expires_at,
        key=Key(id=key.id, scopes=frozenset(map(Scope, key.scopes))),
    )


def _secret(connected: Connections, key: ApiKey) -> bytes | None:
    try:
        return connected.vault.open(key.secret, about=about_key(key.id))
    except VaultKeyMissing as error:
        _log.warning("%s", error)
        return None
