"""What tests of the SDK share: a trained generator."""

import pytest

from simulacra.client import Generator, Simulacra
from simulacra.client._embedded import EmbeddedStack
from tests.integration.client.people import people

QUICK = {"max_training_time": 0.1, "max_epochs": 3}


@pytest.fixture(scope="session")
def trained_id(embedded: EmbeddedStack) -> str:
    """The id of a generator of people, trained once for all tests."""
    with Simulacra(embedded.endpoint.address, embedded.endpoint.api_key) as client:
        generator = client.train(
            data=people(), name="people", seed=1, model_configuration=QUICK, progress_bar=False
        )
    return generator.id


@pytest.fixture
def trained(client: Simulacra, trained_id: str) -> Generator:
    """That generator."""
    return client.generators.get(trained_id)
