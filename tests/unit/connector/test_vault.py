"""Secrets open only with their key and in their place."""

import base64
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulacra_connector.vault import SecretVault, VaultError

OLD, NEW = {"old": b"o" * 32}, {"new": b"n" * 32}


@settings(deadline=None, max_examples=50)
@given(st.text(), st.text())
def test_round_trip(value: str, context: str) -> None:
    vault = SecretVault(OLD)
    sealed = vault.seal(value, context=context)
    assert vault.open(sealed, context=context) == value
    assert vault.seal(value, context=context) != sealed
    with pytest.raises(VaultError, match="damaged or moved"):
        vault.open(sealed, context=context + "x")


def test_rotation() -> None:
    sealed = SecretVault(OLD).seal("s", context="c")
    both = SecretVault(NEW | OLD)
    assert both.open(sealed, context="c") == "s"
    assert not both.is_current(sealed)
    assert both.is_current(both.seal("s", context="c"))
    with pytest.raises(VaultError, match="'old', which is not configured"):
        SecretVault(NEW).open(sealed, context="c")


def test_changed_ciphertext_does_not_open() -> None:
    vault = SecretVault(OLD)
    head, _, encoded = vault.seal("s", context="c").rpartition(".")
    data = bytearray(base64.b64decode(encoded))
    data[-1] ^= 1
    with pytest.raises(VaultError):
        vault.open(f"{head}.{base64.b64encode(data).decode()}", context="c")


@pytest.mark.parametrize(
    "text", ["", "k:short", "k:" + base64.b64encode(b"x" * 31).decode(), "a b:" + "A" * 44, "k:%%"]
)
def test_malformed_keys(text: str) -> None:
    with pytest.raises(VaultError):
        SecretVault.parse(text)


def test_key_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    sealed = SecretVault.from_file(path).seal("s", context="c")
    assert path.stat().st_mode & 0o777 == 0o600
    assert SecretVault.from_file(path).open(sealed, context="c") == "s"
    fresh = f"next:{base64.b64encode(os.urandom(32)).decode()}\n"
    path.write_text(fresh + path.read_text())
    assert SecretVault.from_file(path).current_key_id == "next"
    path.chmod(0o640)
    with pytest.raises(VaultError, match="chmod 600"):
        SecretVault.from_file(path)


def test_fingerprint_depends_on_the_key() -> None:
    assert SecretVault(OLD).fingerprint("s") == SecretVault(OLD).fingerprint("s")
    assert SecretVault(OLD).fingerprint("s") != SecretVault(NEW).fingerprint("s")
