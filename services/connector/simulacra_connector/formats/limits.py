"""The bounds that hold for a file from outside, and the errors that say what is wrong with it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from simulacra.errors import CorruptUpload, LimitExceeded, UnsupportedData

__all__ = ["FileLimits", "bounded", "check_names", "corrupt", "too_large"]


@dataclass(frozen=True, slots=True)
class FileLimits:
    """What one file may hold once it is unpacked."""

    max_expanded_bytes: int = 50 * 2**30
    max_expansion: int = 500
    """How many times larger than the file its content may be; a small file may always have `free_bytes`."""
    free_bytes: int = 2**28
    max_columns: int = 10_000

    def allowed_bytes(self, file_size: int) -> int:
        """Returns how many bytes a file of this size may unpack to."""
        return min(self.max_expanded_bytes, max(self.free_bytes, file_size * self.max_expansion))


def corrupt(file_name: str, reason: str, *, line: int | None = None) -> CorruptUpload:
    """Makes the error for a file that is not what its name says."""
    error = CorruptUpload(f"{file_name} cannot be read: {reason}", file_name=file_name)
    if line is not None:
        error.metadata["line"] = str(line)
    return error


def too_large(file_name: str, limit: int) -> LimitExceeded:
    """Makes the error for a file that unpacks to more than it may."""
    return LimitExceeded(
        f"{file_name} unpacks to more than {limit:,} bytes; split it, or read it from a bucket",
        file_name=file_name,
        limit=str(limit),
    )


def check_names(names: Sequence[str], file_name: str, limits: FileLimits) -> None:
    """Refuses a file without columns, with too many, or with two of one name."""
    if not names:
        raise corrupt(file_name, "it has no columns")
    if len(names) > limits.max_columns:
        raise LimitExceeded(
            f"{file_name} has {len(names):,} columns; at most {limits.max_columns:,} are taken",
            limit=str(limits.max_columns),
        )
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UnsupportedData(f'{file_name} has two columns "{name}"; rename one', column=name)
        seen.add(name)


def bounded(batches: Iterator[pa.RecordBatch], *, file_name: str, limit: int) -> Iterator[pa.RecordBatch]:
    """Passes batches on until they are more bytes than the file may unpack to."""
    size = 0
    for batch in batches:
        size += batch.nbytes
        if size > limit:
            raise too_large(file_name, limit)
        yield batch
