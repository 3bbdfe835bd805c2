"""What integration tests of the whole platform share: one embedded stack for all of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from simulacra.client import Simulacra
from simulacra.client._embedded import EmbeddedStack


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedStack]:
    """A running platform in a process of its own."""
    folder: Path = tmp_path_factory.mktemp("platform")
    with EmbeddedStack(folder) as stack:
        yield stack


@pytest.fixture
def client(embedded: EmbeddedStack) -> Iterator[Simulacra]:
    """A blocking client of it."""
    with Simulacra(embedded.endpoint.address, embedded.endpoint.api_key) as client:
        yield client
