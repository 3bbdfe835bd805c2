"""What is in the spool is exactly what was committed."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from simulacra.errors import StorageFull
from simulacra_connector.spool import Spool


@contextmanager
def little_space() -> Iterator[None]:
    """No file may grow beyond 1,000 bytes, which is how a full disk looks to a program.

    Held around one call only: the limit is the whole process's, and pytest may write its output to a file.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_files_are_private_and_named_by_hash(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "uploads")
    path = spool.path("ada", "../../etc/passwd")
    assert path.parent == tmp_path / "uploads"
    assert spool.path("ada", "u") != spool.path("adau", "")
    spool.append(path, 0, b"abc")
    assert path.stat().st_mode & 0o777 == 0o600
    assert spool.open(path) == 3
    spool.append(path, 3, b"d")
    assert path.read_bytes() == b"abcd"


def test_a_file_that_is_larger_than_the_disk_is_refused(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "uploads")
    spool.require_space(-5)
    spool.require_space(1)
    with pytest.raises(StorageFull, match="the disk has"):
        spool.require_space(1 << 60)


def test_full_disk_leaves_what_was_committed(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "uploads")
    path = spool.path("u")
    spool.append(path, 0, b"x" * 600)
    with little_space(), pytest.raises(StorageFull, match="no space left"):
        spool.append(path, 600, b"y" * 600)
    assert path.read_bytes() == b"x" * 600
