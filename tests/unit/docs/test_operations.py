"""The page on operations names every setting of every service."""

import re
from pathlib import Path

import pytest

from simulacra.rpc.settings import ServiceSettings
from simulacra_connector.settings import ConnectorSettings
from simulacra_gateway.settings import GatewaySettings
from simulacra_generator.settings import GeneratorSettings
from simulacra_qa.settings import QaSettings
from simulacra_trainer.settings import TrainerSettings

PAGE = Path(__file__).parents[3] / "docs" / "operations.md"
SERVICES: list[type[ServiceSettings]] = [
    ConnectorSettings,
    GatewaySettings,
    GeneratorSettings,
    QaSettings,
    TrainerSettings,
]


def documented() -> set[str]:
    return set(re.findall(r"^\| `(SIMULACRA_[A-Z0-9_]+)` \|", PAGE.read_text(), re.MULTILINE))


@pytest.mark.parametrize("settings", SERVICES, ids=lambda settings: settings.service)
def test_every_setting_is_documented(settings: type[ServiceSettings]) -> None:
    variables = {f"SIMULACRA_{name.upper()}" for name in settings.model_fields}
    assert variables <= documented()


def test_no_setting_is_documented_that_is_gone() -> None:
    known = {f"SIMULACRA_{name.upper()}" for settings in SERVICES for name in settings.model_fields}
    assert documented() <= known
