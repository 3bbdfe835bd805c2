"""Makes plain UTF-8 of a text file: unpacks gzip within bounds, detects the encoding, refuses binary data."""

import codecs
import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from simulacra_connector.formats.limits import FileLimits, corrupt, too_large

__all__ = ["plain_text"]

_CHUNK = 2**20
_GZIP_MAGIC = b"\x1f\x8b"
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def plain_text(path: Path, *, file_name: str, limits: FileLimits, scratch: Path) -> Path:
    """Returns a file of the same text in UTF-8 without a byte-order mark: `path` if it is that already.

    Text that is not UTF-8 is taken as Windows-1252, the superset of Latin-1 that spreadsheets write.

    Raises:
        CorruptUpload: If it is damaged, empty, or no text.
        LimitExceeded: If it unpacks to too much.
    """
    with path.open("rb") as file:
        packed = file.read(2) == _GZIP_MAGIC
    limit = limits.allowed_bytes(path.stat().st_size)
    target = scratch / "text"
    head = next(_chunks(path, packed, file_name, limit), b"")
    if not head:
        raise corrupt(file_name, "it is empty")
    mark, encoding = next(((bom, name) for bom, name in _BOMS if head.startswith(bom)), (b"", ""))
    encoding = encoding or _without_mark(head)
    for attempt in [encoding, "cp1252"] if encoding == "utf-8" and not mark else [encoding]:
        chunks = _chunks(path, packed, file_name, limit)
        try:
            copied = packed or bool(mark) or attempt != "utf-8"
            _transcode(chunks, attempt, len(mark), target if copied else None, file_name)
        except UnicodeDecodeError as error:
            failure = error
            continue
        return target if copied else path
    raise corrupt(file_name, f"it is neither UTF-8 nor {failure.encoding} text")


def _without_mark(head: bytes) -> str:
    """Tells UTF-16 from UTF-8 by where the zero bytes of Latin letters are."""
    sample = head[:4096]
    even, odd = sample[0::2].count(0), sample[1::2].count(0)
    if odd > len(sample) / 4 and not even:
        return "utf-16-le"
    if even > len(sample) / 4 and not odd:
        return "utf-16-be"
    return "utf-8"


def _chunks(path: Path, packed: bool, file_name: str, limit: int) -> Iterator[bytes]:
    size = 0
    with path.open("rb") as raw, gzip.GzipFile(fileobj=raw) if packed else raw as file:
        while True:
            try:
                chunk = file.read(_CHUNK)
            except (EOFError, OSError, zlib.error) as error:
                raise corrupt(file_name, f"its gzip data are damaged or cut off ({error})") from error
            if not chunk:
                return
            size += len(chunk)
            if size > limit:
                raise too_large(file_name, limit)
            yield chunk


def _transcode(
    chunks: Iterator[bytes], encoding: str, skip: int, target: Path | None, file_name: str
) -> None:
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    output = target.open("wb") if target else None
    try:
        for chunk in chunks:
            text = decoder.decode(chunk[skip:])
            skip = 0
            if "\0" in text:
                raise corrupt(file_name, "it holds zero bytes, so it is no text")
            if output:
                output.write(text.encode())
        decoder.decode(b"", final=True)
    finally:
        if output:
            output.close()
