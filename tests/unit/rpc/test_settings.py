"""Where settings come from, and which are refused."""

from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import ValidationError

from simulacra.rpc import ServiceSettings

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
