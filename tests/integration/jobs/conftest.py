"""Fixtures of the queue's tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulacra.store import Database
from tests.kernel_service.bench import Bench


@pytest.fixture
async def bench(database: Database, tmp_path: Path) -> AsyncIterator[Bench]:
    """A job store with what a test needs around it."""
    bench = Bench(database, tmp_path)
    yield bench
    await bench.close()
