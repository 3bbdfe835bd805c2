"""What tests of the generator service share: a generator of people and their pets, trained once."""

from collections.abc import AsyncIterator

import numpy as np
import pandas as pd
import pytest

from simulacra.client import Generator, Simulacra
from simulacra.client._embedded import EmbeddedStack
from simulacra.rpc import ServiceChannel, open_channel
from tests.integration.client.people import people

QUICK = {"max_training_time": 0.1, "max_epochs": 2}


def pets(rows: int = 300) -> pd.DataFrame:
    """Returns pets with an owner and a name that is a key."""
    draw = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "kind": draw.choice(["cat", "dog", "fish"], rows),
            "name": [f"pet {number}" for number in range(rows)],
            "owner": draw.integers(1, 400, rows),
            "age": draw.integers(0, 15, rows),
        }
    )


@pytest.fixture
async def channel(embedded: EmbeddedStack) -> AsyncIterator[ServiceChannel]:
    """A channel to the gateway, for stubs of the contract."""
    endpoint = embedded.endpoint
    async with open_channel(endpoint.address, api_key=endpoint.api_key) as channel:
        yield channel


@pytest.fixture(scope="session")
def owners_id(embedded: EmbeddedStack) -> str:
    """The id of a trained generator with two tables, the second of which points at the first."""
    owners = people(400)
    owners.insert(0, "id", range(1, 401))
    tables = [
        {"name": "people", "data": owners.to_parquet(), "primary_key": "id", "model_configuration": QUICK},
        {
            "name": "pets",
            "data": pets().to_parquet(),
            "primary_key": "name",
            "foreign_keys": [{"column": "owner", "referenced_table": "people"}],
            "model_configuration": QUICK,
        },
    ]
    with Simulacra(embedded.endpoint.address, embedded.endpoint.api_key) as client:
        return client.train({"name": "owners", "seed": 3, "tables": tables}, progress_bar=False).id


@pytest.fixture
def owners(client: Simulacra, owners_id: str) -> Generator:
    """That generator."""
    return client.generators.get(owners_id)
