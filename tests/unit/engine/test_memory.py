"""Freed memory stays while it is needed again, and only much of it is given back."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulacra.engine import memory

_USES = """
import json, resource
import numpy as np
from simulacra.engine import memory

held = []

def used(megabytes):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    with memory.kept():
        for _ in range(3):
            parts = [np.ones(megabytes << 14) for _ in range(8)]
            top = np.ones(megabytes << 13)
            del parts
    held.append(top)  # stands above what was freed, as weights do
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = [used(20), used(20)]
start = memory._resident()
much = used(400)
left = memory._resident() - start
print(json.dumps({"first": first, "much": much, "left": left, "after": [used(20), used(20)]}))
"""


@pytest.fixture(scope="module")
def faults() -> dict[str, int | list[int]]:
    if not Path("/proc/self/statm").exists() or any(name.startswith("MALLOC_") for name in os.environ):
        pytest.skip(
            "memory is kept on Linux with glibc only, and where the environment says nothing of malloc"
        )
    # Else numpy asks for huge pages, of which each is one fault.
    small = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", _USES], check=True, capture_output=True, text=True, env=small
    )
    found: dict[str, int | list[int]] = json.loads(done.stdout)
    return found


def _pages(megabytes: int) -> int:
    return (megabytes << 20) // os.sysconf("SC_PAGE_SIZE")


def test_what_is_little_is_kept_for_the_next(faults: dict[str, list[int]]) -> None:
    assert faults["first"][1] < _pages(20) / 4


def test_what_is_much_is_kept_while_it_is_needed_and_then_given_back(faults: dict[str, int]) -> None:
    assert faults["much"] < 1.5 * _pages(400)  # of three times as many
    assert faults["left"] < 100 << 20


def test_little_is_kept_after_much_was_given_back(faults: dict[str, list[int]]) -> None:
    assert faults["after"][1] < _pages(20) / 4


def test_an_error_is_not_hidden_by_files_that_cannot_be_opened() -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def fail() -> None:
        with memory.kept():
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
            raise ValueError("the real one")

    try:
        with pytest.raises(ValueError, match="the real one"):
            fail()
        assert memory._resident() == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
