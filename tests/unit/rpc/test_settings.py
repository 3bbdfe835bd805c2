"""Where settings come from, and which are refused."""

import re
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import ValidationError

from simulacra.errors import InvalidArgument
from simulacra.rpc import ServiceSettings
from simulacra.rpc.settings import read_settings

KEY = "k" * 32


class TrainerSettings(ServiceSettings):
    service: ClassVar[str] = "trainer"


def test_locations_follow_the_data_folder(tmp_path: Path) -> None:
    settings = TrainerSettings(data_dir=tmp_path, internal_key=KEY)
    assert settings.database_url == f"sqlite+aiosqlite:///{tmp_path}/trainer.db"
    assert settings.artifacts_url == f"file://{tmp_path}/artifacts"


def test_a_service_has_its_own_variables_before_the_shared_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIMULACRA_INTERNAL_KEY", KEY)
    monkeypatch.setenv("SIMULACRA_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("SIMULACRA_PORT", "4000")
    monkeypatch.setenv("SIMULACRA_TRAINER__PORT", "5000")
    monkeypatch.setenv("SIMULACRA_QA__PORT", "6000")
    settings = TrainerSettings()
    assert (settings.port, settings.data_dir) == (5000, tmp_path)
    assert settings.database_url.endswith(f"{tmp_path}/trainer.db")
    assert TrainerSettings(port=7000).port == 7000
    assert KEY not in repr(settings)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "some.name"])
def test_plaintext_beyond_loopback_refuses_to_start(host: str) -> None:
    with pytest.raises(ValidationError, match="no TLS"):
        TrainerSettings(host=host, internal_key=KEY)
    TrainerSettings(host=host, internal_key=KEY, allow_plaintext=True)


def test_a_missing_or_short_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="internal_key"):
        TrainerSettings()
    with pytest.raises(ValidationError, match="16 characters"):
        TrainerSettings(internal_key="short")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("database_url", "mysql://a:secret@b/c", "SIMULACRA_DATABASE_URL: is not the URL of a database"),
        ("database_url", "nonsense", "SIMULACRA_DATABASE_URL"),
        ("artifacts_url", "ftp://x", "SIMULACRA_ARTIFACTS_URL: begins with ftp; use one of file, s3"),
        ("internal_key", "secret", "SIMULACRA_INTERNAL_KEY: needs at least 16 characters"),
        ("tls_key", "secret", "SIMULACRA_TLS_CERTIFICATE and SIMULACRA_TLS_KEY go together"),
    ],
)
def test_what_is_wrong_is_named_by_its_variable_without_its_value(name: str, value: str, told: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(told)) as caught:
        read_settings(TrainerSettings, **{"internal_key": KEY, name: value})
    assert "secret" not in str(caught.value)
