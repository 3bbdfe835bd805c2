"""Encrypts connector secrets at rest: AES-256-GCM under the operator's keys, several readable at once.

A sealed value is `v1.<key id>.<base64 of nonce and ciphertext>`. The associated data names the connector and
the field, so a ciphertext that is copied into another row or field does not open.
"""

import base64
import binascii
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["SecretVault", "VaultError"]

_NONCE_BYTES = 12
_KEY_BYTES = 32
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")


class VaultError(RuntimeError):
    """A key is missing or malformed, or a stored secret does not open under any known key."""


class SecretVault:
    """Seals with the first key and opens with any; to rotate is to put a new key in front of the old ones."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        if not keys:
            raise VaultError("no secret key is configured; set SIMULACRA_SECRET_KEYS or give a key file")
        for key_id, key in keys.items():
            if not _KEY_ID.fullmatch(key_id) or len(key) != _KEY_BYTES:
                raise VaultError(
                    f"secret key {key_id!r} must be `id:base64 of {_KEY_BYTES} bytes`, id of [A-Za-z0-9_-]"
                )
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self.current_key_id = next(iter(keys))
        self._fingerprint_key = hashlib.sha256(b"simulacra fingerprint" + keys[self.current_key_id]).digest()

    @classmethod
    def parse(cls, text: str) -> "SecretVault":
        """Reads `id:base64` entries, separated by commas or lines; the first one seals."""
        keys: dict[str, bytes] = {}
        for entry in filter(None, (part.strip() for part in re.split(r"[,\n]", text))):
            key_id, _, encoded = entry.partition(":")
            try:
                keys[key_id] = base64.b64decode(encoded, validate=True)
            except binascii.Error:
                raise VaultError(f"secret key {key_id!r} is not base64") from None
        return cls(keys)

    @classmethod
    def from_file(cls, path: Path) -> "SecretVault":
        """Reads the key file, which only its owner may read; makes it with a fresh key if there is none."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            if path.stat().st_mode & 0o077:
                raise VaultError(f"{path} may be read by others; run `chmod 600 {path}`") from None
            return cls.parse(path.read_text())
        with os.fdopen(descriptor, "w") as file:
            key = base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
            file.write(f"k{secrets.token_hex(4)}:{key}\n")
            file.flush()
            os.fsync(file.fileno())
        return cls.parse(path.read_text())

    def seal(self, value: str, *, context: str) -> str:
        """Encrypts a secret for one place, for example `connectors/{id}/secrets/password`."""
        nonce = os.urandom(_NONCE_BYTES)
        cipher = self._ciphers[self.current_key_id]
        sealed = nonce + cipher.encrypt(nonce, value.encode(), context.encode())
        return f"v1.{self.current_key_id}.{base64.b64encode(sealed).decode()}"

    def open(self, sealed: str, *, context: str) -> str:
        """Decrypts what `seal` made for the same place.

        Raises:
            VaultError: If its key is not among the configured ones, or the value was changed or moved.
        """
        version, key_id, encoded = sealed.split(".", 2)
        if version != "v1" or key_id not in self._ciphers:
            raise VaultError(f"the secret {context} was sealed with key {key_id!r}, which is not configured")
        data = base64.b64decode(encoded)
        try:
            opened = self._ciphers[key_id].decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], context.encode())
        except InvalidTag:
            raise VaultError(
                f"the secret {context} does not open with key {key_id!r}: damaged or moved"
            ) from None
        return opened.decode()

    def fingerprint(self, text: str) -> str:
        """Returns a keyed hash, which tells whether a text is the same but not what it is."""
        return hmac.new(self._fingerprint_key, text.encode(), hashlib.sha256).hexdigest()

    def is_current(self, sealed: str) -> bool:
        """Tells whether a sealed value is under the key that seals now."""
        return sealed.startswith(f"v1.{self.current_key_id}.")
