"""What a test needs of the machine: it skips with the reason, or fails where the need is declared met.

Continuous integration sets `SIMULACRA_TEST_REQUIRE=postgres,mariadb,azurite,...`: a missing
server fails there.
"""

import os

import pytest

__all__ = ["require"]


def require(need: str, available: bool, reason: str) -> None:
    """Skips the running test with `reason` unless `available`; fails it if the machine promised `need`."""
    if available:
        return
    if need in os.environ.get("SIMULACRA_TEST_REQUIRE", "").split(","):
        pytest.fail(f"{need} is required here: {reason}")
    pytest.skip(reason)
