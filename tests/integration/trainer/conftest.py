"""What tests of the trainer share: raw calls through the gateway, and a trained generator."""

from collections.abc import AsyncIterator

import pytest

from simulacra.client import Generator, Simulacra
from simulacra.client._embedded import EmbeddedStack
from simulacra.rpc import ServiceChannel, open_channel
from tests.integration.client.people import people

QUICK = {"max_training_time": 0.1, "max_epochs": 2}


@pytest.fixture
async def channel(embedded: EmbeddedStack) -> AsyncIterator[ServiceChannel]:
    """A channel to the gateway, for stubs of the contract."""
    endpoint = embedded.endpoint
    async with open_channel(endpoint.address, api_key=endpoint.api_key) as channel:
        yield channel


@pytest.fixture(scope="session")
def trained_id(embedded: EmbeddedStack) -> str:
    """A trained generator of people with a key column."""
    data = people(400)
    data.insert(0, "id", [f"p{number}" for number in range(len(data))])
    with Simulacra(embedded.endpoint.address, embedded.endpoint.api_key) as client:
        source = client.connectors.upload(data, name="people")
        table = {
            "name": "people",
            "source_connector_id": source.id,
            "primary_key": "id",
            "model_configuration": QUICK,
        }
        generator = client.train({"name": "trained people", "seed": 7, "tables": [table]}, progress_bar=False)
    return generator.id


@pytest.fixture
def trained(client: Simulacra, trained_id: str) -> Generator:
    """That generator."""
    return client.generators.get(trained_id)
