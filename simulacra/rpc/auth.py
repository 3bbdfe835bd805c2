"""Who calls: the principal that the gateway signs and every service verifies.

A call inside the platform carries `x-simulacra-principal`: a JSON document with its HMAC-SHA256 and the time
of signing. Services refuse calls without one, so nothing can be reached around the gateway.
"""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from simulacra.errors import UnsignedCall

__all__ = [
    "PRINCIPAL_KEY",
    "REQUEST_ID_KEY",
    "Limits",
    "Principal",
    "PrincipalSigner",
    "acting_as",
    "current_principal",
    "current_principal_or_none",
    "current_request_id",
]

PRINCIPAL_KEY = "x-simulacra-principal"
REQUEST_ID_KEY = "x-request-id"

_K = TypeVar("_K")
_V = TypeVar("_V")

_principal: ContextVar["Principal | None"] = ContextVar("simulacra_principal", default=None)
_request_id: ContextVar[str | None] = ContextVar("simulacra_request_id", default=None)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a principal may use at once; None is without limit."""

    parallel_training_jobs: int | None = None
    parallel_generation_jobs: int | None = None


@dataclass(frozen=True, slots=True)
class Principal:
    """The user on whose behalf a call is made; `service` names the service when it calls for itself."""

    user_id: str
    user_name: str
    is_admin: bool = False
    limits: Limits = Limits()
    service: str | None = None

    @classmethod
    def of_service(cls, name: str) -> "Principal":
        """Returns the principal of a service that acts for itself; it may see everything."""
        return cls(user_id=f"service:{name}", user_name=name, service=name)

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON document, which `from_json` reads back; jobs store it with their owner."""
        document: dict[str, Any] = {"id": self.user_id, "name": self.user_name}
        if self.is_admin:
            document["admin"] = True
        if self.limits.parallel_training_jobs is not None:
            document["training"] = self.limits.parallel_training_jobs
        if self.limits.parallel_generation_jobs is not None:
            document["generation"] = self.limits.parallel_generation_jobs
        if self.service is not None:
            document["service"] = self.service
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Principal":
        """Reads what `to_json` wrote."""
        return cls(
            user_id=document["id"],
            user_name=document["name"],
            is_admin=document.get("admin", False),
            limits=Limits(document.get("training"), document.get("generation")),
            service=document.get("service"),
        )


class PrincipalSigner:
    """Signs principals with the platform's internal key and verifies them.

    Tokens live for five minutes and are reused for a few seconds: signing and verifying are on the path of
    every call.
    """

    _MAX_AGE = 300.0
    _REUSE = 10.0
    _CACHE = 4096

    def __init__(self, key: bytes, *, clock: Callable[[], float] = time.time) -> None:
        if len(key) < 16:
            raise ValueError("the internal key needs at least 16 bytes; make one with `openssl rand -hex 32`")
        self._key = key
        self._clock = clock
        self._signed: dict[Principal, tuple[str, float]] = {}
        self._verified: dict[str, tuple[Principal, float]] = {}

    def sign(self, principal: Principal) -> str:
        """Returns the token for a principal."""
        now = self._clock()
        known = self._signed.get(principal)
        if known is not None and now - known[1] < self._REUSE:
            return known[0]
        body = _encode(json.dumps({"at": now, **principal.to_json()}, separators=(",", ":")).encode())
        token = f"{body}.{_encode(self._mac(body))}"
        _remember(self._signed, principal, (token, now), self._CACHE)
        return token

    def verify(self, token: str) -> Principal:
        """Returns the principal of a token.

        Raises:
            UnsignedCall: If the token was not made with this key, or is too old.
        """
        now = self._clock()
        known = self._verified.get(token)
        if known is None:
            known = self._read(token)
            _remember(self._verified, token, known, self._CACHE)
        principal, signed_at = known
        if abs(now - signed_at) > self._MAX_AGE:
            raise UnsignedCall(
                "the caller's signed principal is too old; check that the clocks of all hosts agree"
            )
        return principal

    def _read(self, token: str) -> tuple[Principal, float]:
        body, _, signature = token.partition(".")
        try:
            if not hmac.compare_digest(_decode(signature), self._mac(body)):
                raise UnsignedCall(
                    "the caller's principal has a wrong signature; all services need the same internal key"
                )
            document = json.loads(_decode(body))
            return Principal.from_json(document), float(document["at"])
        except (ValueError, KeyError, TypeError) as error:
            raise UnsignedCall("the caller's principal cannot be read") from error

    def _mac(self, body: str) -> bytes:
        return hmac.digest(self._key, body.encode(), hashlib.sha256)


def current_principal() -> Principal:
    """Returns the principal of the call that is being handled, in its handler and the tasks it starts.

    Raises:
        UnsignedCall: Outside of a call.
    """
    principal = _principal.get()
    if principal is None:
        raise UnsignedCall("there is no principal here: this code runs outside of an authenticated call")
    return principal


def current_principal_or_none() -> Principal | None:
    """Returns the principal of the call that is being handled, or None outside of one."""
    return _principal.get()


def current_request_id() -> str | None:
    """Returns the request id of the call that is being handled, or None outside of one."""
    return _request_id.get()


@contextmanager
def acting_as(principal: Principal, *, request_id: str | None = None) -> Iterator[None]:
    """Makes `principal` the current one in a block; a job's step acts as the job's owner."""
    token = _principal.set(principal)
    request_token = _request_id.set(request_id or _request_id.get())
    try:
        yield
    finally:
        _request_id.reset(request_token)
        _principal.reset(token)


def enter_call(*, principal: Principal | None = None, request_id: str | None = None) -> None:
    """Sets what is known about the call for the rest of this task; each call has a task of its own."""
    if principal is not None:
        _principal.set(principal)
    if request_id is not None:
        _request_id.set(request_id)


def _remember(cache: dict[_K, _V], key: _K, value: _V, size: int) -> None:
    if len(cache) >= size:
        cache.clear()
    cache[key] = value


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
