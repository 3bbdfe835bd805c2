"""What all tests share: the databases that stores are tested on."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulacra.store import Database

# A shell that starts tests in the background has them ignore Ctrl-C, and what they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Embedding records takes seconds, in every evaluation; the tests of it name the weights themselves.
os.environ.setdefault("SIMULACRA_EMBEDDER_PATH", os.devnull)

pytest_plugins = ["tests.postgres"]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once of SQLite and once of Postgres."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'service.db'}"
    url: str = request.getfixturevalue("postgres_server").new_database()
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A service's database, migrated."""
    database = Database(database_url, schema="kernel_service")
    await database.migrate("tests.kernel_service")
    yield database
    await database.close()
