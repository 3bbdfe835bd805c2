"""Users and API keys: the first user, authentication on every call, making and revoking keys."""

import asyncio
import contextlib
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from simulacra.errors import (
    DatabaseUnavailable,
    InvalidArgument,
    PermissionDenied,
    ResourceNotFound,
    StorageFull,
    Unauthenticated,
)
from simulacra.logs import get_logger
from simulacra.rpc import Limits, Principal
from simulacra.store import Page
from simulacra_gateway.settings import GatewaySettings
from simulacra_gateway.store import GatewayStore

__all__ = ["Accounts"]

log = get_logger("simulacra.gateway")

KEY_PREFIX = "sim_"
_CACHED_KEYS = 10_000
_TOUCH_AFTER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class _Known:
    principal: Principal
    key_id: str
    expires_at: datetime | None
    fresh_until: float


class Accounts:
    """Knows who may come in.

    A key that has been seen is believed for `key_cache_seconds`; revoking it here ends that at once, and at
    other gateways on the same database at most that much later.
    """

    def __init__(
        self,
        store: GatewayStore,
        settings: GatewaySettings,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._touches: set[asyncio.Task[None]] = set()

    async def authenticate(self, metadata: Mapping[str, str | bytes]) -> Principal:
        """Returns the user whose API key a call carries.

        Raises:
            Unauthenticated: There is none, or it is unknown, revoked or expired.
        """
        scheme, _, key = str(metadata.get("authorization", "")).partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise Unauthenticated("send an API key as metadata `authorization: Bearer <key>`")
        key_hash = _hash(key.strip())
        known = self._known.get(key_hash)
        if known is None or known.fresh_until < time.monotonic():
            known = await self._look_up(key_hash)
        if known.expires_at is not None and known.expires_at <= self._clock():
            raise Unauthenticated("the API key has expired; make a new one")
        return known.principal

    async def _look_up(self, key_hash: str) -> _Known:
        row = await self._store.key_with_user(key_hash)
        if row is None or not hmac.compare_digest(row["hash"], key_hash):
            self._known.pop(key_hash, None)
            raise Unauthenticated("the API key is unknown or was revoked")
        known = _Known(
            principal=Principal(
                user_id=row["id"],
                user_name=display_name(dict(row)),
                is_admin=row["is_admin"],
                limits=Limits(row["parallel_training_jobs"], row["parallel_generation_jobs"]),
            ),
            key_id=row["key_id"],
            expires_at=row["expires_at"],
            fresh_until=time.monotonic() + self._settings.key_cache_seconds,
        )
        if len(self._known) >= _CACHED_KEYS:
            self._known.clear()
        self._known[key_hash] = known
        now = self._clock()
        if row["last_used_at"] is None or now - row["last_used_at"] > _TOUCH_AFTER:
            task = asyncio.create_task(self._touch(known.key_id, now))
            self._touches.add(task)
            task.add_done_callback(self._touches.discard)
        return known

    async def _touch(self, key_id: str, now: datetime) -> None:
        with contextlib.suppress(DatabaseUnavailable, StorageFull):  # nobody's call may fail for this
            await self._store.touch_key(key_id, now)

    async def ensure_first_user(self) -> None:
        """Makes the first user and key in an empty database, and sees that the bootstrap key is valid."""
        given = self._settings.bootstrap_api_key
        made: str | None = None
        async with self._store.database.begin() as tx:
            user = await self._store.first_user(tx)
            user_id = user["id"] if user is not None else str(uuid4())
            if user is None:
                await self._store.add_user(
                    tx,
                    id=user_id,
                    email=self._settings.bootstrap_email,
                    first_name="Admin",
                    is_admin=True,
                    settings={},
                    parallel_training_jobs=self._settings.parallel_training_jobs,
                    parallel_generation_jobs=self._settings.parallel_generation_jobs,
                    created_at=self._clock(),
                )
            if given is None and user is None:
                made = new_key()
            key = given.get_secret_value() if given is not None else made
            if key is not None and not await self._store.key_exists(tx, _hash(key)):
                await self._store.add_key(tx, **self._key_row(key, user_id, "first key"))
            if made is not None:  # inside the transaction: a key that cannot be handed over must not exist
                await asyncio.to_thread(_write_private, self._settings.data_dir / "api_key", made)
        if made is not None:
            log.warning("first_api_key_made", file=str(self._settings.data_dir / "api_key"))

    async def create_key(
        self, principal: Principal, name: str, *, expires_at: datetime | None, user_id: str | None
    ) -> tuple[str, dict[str, Any]]:
        """Makes a key for the caller, or by an administrator for another user; returns it and its row."""
        if not 1 <= len(name) <= 256:
            raise InvalidArgument.of("name", f"must have 1 to 256 characters, got {len(name)}")
        if expires_at is not None and expires_at <= self._clock():
            raise InvalidArgument.of("expires_at", f"must lie in the future, got {expires_at.isoformat()}")
        if user_id not in (None, principal.user_id):
            if not principal.is_admin:
                raise PermissionDenied("only administrators make API keys for other users")
            if await self._store.user(str(user_id)) is None:
                raise ResourceNotFound(f"there is no user {user_id!r}", id=str(user_id), resource="user")
        key = new_key()
        row = self._key_row(key, user_id or principal.user_id, name, expires_at)
        async with self._store.database.begin() as tx:
            await self._store.add_key(tx, **row)
        return key, row

    async def keys(self, principal: Principal, *, page_size: int, page_token: str) -> Page:
        """Returns a page of the caller's keys, without the keys themselves."""
        return await self._store.page_of_keys(principal.user_id, page_size=page_size, page_token=page_token)

    async def revoke_key(self, principal: Principal, key_id: str) -> None:
        """Makes a key invalid; an administrator may revoke anybody's."""
        key_hash = await self._store.delete_key(key_id, None if principal.is_admin else principal.user_id)
        if key_hash is None:
            raise ResourceNotFound(f"there is no API key {key_id!r}", id=key_id, resource="API key")
        self._known.pop(key_hash, None)

    async def close(self) -> None:
        """Waits for writes in the background."""
        await asyncio.gather(*self._touches)

    def _key_row(
        self, key: str, owner_id: str, name: str, expires_at: datetime | None = None
    ) -> dict[str, Any]:
        return {
            "id": str(uuid4()),
            "owner_id": owner_id,
            "name": name,
            "prefix": key[:8],
            "hash": _hash(key),
            "created_at": self._clock(),
            "last_used_at": None,
            "expires_at": expires_at,
        }


def new_key() -> str:
    """Returns a new API key of 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def display_name(user: Mapping[str, Any]) -> str:
    """Returns how others see a user: the full name, else the email address."""
    return " ".join(part for part in (user["first_name"], user["last_name"]) if part) or str(user["email"])


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        file.write(text + "\n")
