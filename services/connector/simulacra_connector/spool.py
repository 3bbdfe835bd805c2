"""The folder where uploads grow: one file each, whose size is what has been committed."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from simulacra.artifacts.writer import disk_full_mapped
from simulacra.errors import StorageFull

__all__ = ["Spool"]

_BLOCK = 2**20


class Spool:
    """Files that only this service's user may read; their names are hashes, so a client chooses no path."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, *key: str) -> Path:
        """Returns the file of an upload."""
        return self._folder / hashlib.sha256("\0".join(key).encode()).hexdigest()

    def open(self, path: Path) -> int:
        """Makes a file, if it is not there yet, and returns its size."""
        with disk_full_mapped():
            path.touch(mode=0o600)
        return path.stat().st_size

    def size(self, path: Path) -> int:
        """Returns how many bytes are there."""
        return path.stat().st_size if path.exists() else 0

    def require_space(self, size: int) -> None:
        """Raises StorageFull unless the disk has space for so many bytes more."""
        free = shutil.disk_usage(self._folder).free
        if size > free:
            raise StorageFull(
                f"the file needs {size:,} bytes more, and the disk has {free:,} left; "
                "free some disk space and try again"
            )

    def append(self, path: Path, offset: int, data: bytes) -> None:
        """Writes a chunk; if that fails, the file is as it was.

        Raises:
            StorageFull: If there is no space left.
        """
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            with disk_full_mapped():
                try:
                    written = 0
                    while written < len(data):
                        written += os.pwrite(descriptor, data[written:], offset + written)
                except OSError:
                    os.ftruncate(descriptor, offset)
                    raise
        finally:
            os.close(descriptor)

    def sha256(self, path: Path) -> str:
        """Returns the file's hash."""
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def remove(self, path: Path) -> None:
        """Deletes a file, if it is there."""
        path.unlink(missing_ok=True)

    def changed_at(self, path: Path) -> datetime | None:
        """Returns when the last byte came; None if none has."""
        return datetime.fromtimestamp(path.stat().st_mtime, UTC) if path.exists() else None

    def paths(self) -> Iterator[Path]:
        """Lists all files."""
        return self._folder.iterdir()
