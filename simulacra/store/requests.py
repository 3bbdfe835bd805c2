"""Requests with an id: a repeat within seven days makes nothing twice and gets the first one's answer."""

import hashlib
import json
from datetime import datetime, timedelta

import sqlalchemy as sa

from simulacra.errors import InvalidArgument, RequestIdReused
from simulacra.store.database import Transaction, utc_now
from simulacra.store.tables import requests

__all__ = ["body_hash", "forget_old_requests", "idempotent", "remember"]

KEPT = timedelta(days=7)
LONGEST_ID = 256


def body_hash(document: object) -> str:
    """Returns the hash of a request's body (JSON values), the same whatever the order of its keys."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


async def idempotent(
    tx: Transaction, principal_id: str, method: str, request_id: str | None, body_hash: str
) -> str | None:
    """Returns what `remember` noted for the same request, or None if this is the first.

    Args:
        tx: The transaction in which the request's work is done too.
        principal_id: Who asks.
        method: What is asked, such as `CreateGenerator`.
        request_id: The id that the client chose; without one nothing is remembered.
        body_hash: Hash of the request without its id.

    Raises:
        InvalidArgument: The id is longer than `LONGEST_ID` characters.
        RequestIdReused: The id came before with another body.
    """
    if not request_id:
        return None
    if len(request_id) > LONGEST_ID:
        raise InvalidArgument.of(
            "request_id", f"has at most {LONGEST_ID} characters, such as a UUID; got {len(request_id)}"
        )
    statement = sa.select(requests.c.body_hash, requests.c.response).where(
        requests.c.principal_id == principal_id,
        requests.c.method == method,
        requests.c.request_id == request_id,
        requests.c.created_at > utc_now() - KEPT,
    )
    earlier = (await tx.execute(statement)).one_or_none()
    if earlier is None:
        return None
    if earlier.body_hash != body_hash:
        raise RequestIdReused(
            f"request_id {request_id!r} was used before for another {method} request; use a new one",
            request_id=request_id,
            method=method,
        )
    return str(earlier.response)


async def remember(
    tx: Transaction, principal_id: str, method: str, request_id: str | None, body_hash: str, *, response: str
) -> None:
    """Notes what a request made (the id of a resource or a job), for `idempotent`."""
    if not request_id:
        return
    key = {"principal_id": principal_id, "method": method, "request_id": request_id}
    await tx.execute(sa.delete(requests).where(*(requests.c[name] == value for name, value in key.items())))
    values = {**key, "body_hash": body_hash, "response": response, "created_at": utc_now()}
    await tx.execute(sa.insert(requests).values(values))


async def forget_old_requests(tx: Transaction, *, now: datetime | None = None) -> int:
    """Deletes what was remembered more than seven days ago; returns how many."""
    result = await tx.execute(sa.delete(requests).where(requests.c.created_at <= (now or utc_now()) - KEPT))
    return result.rowcount
