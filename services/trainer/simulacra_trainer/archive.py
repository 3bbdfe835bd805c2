"""The file of an exported generator: a ZIP of JSON and model files, read back as untrusted input.

`manifest.json` lists every other file with size and SHA-256; `generator.json` describes the generator; the
rest are the files of its artifacts, one folder each. Nothing in it is ever executed or unpickled.
"""

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self

from simulacra.errors import CorruptBundle, LimitExceeded

__all__ = ["ArchiveLimits", "ArchiveReader", "ArchiveWriter"]

FORMAT: Final = "simulacra-generator"
VERSION: Final = 1

_MANIFEST: Final = "manifest.json"
_DOCUMENT: Final = "generator.json"
_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How large an archive may be that somebody gives us.

    Attributes:
        files: Number of files in it.
        total_bytes: What they take when unpacked.
        json_bytes: What a single JSON file may take.
    """

    files: int = 10_000
    total_bytes: int = 16 << 30
    json_bytes: int = 64 << 20


class ArchiveWriter:
    """Writes an archive; the same content gives the same bytes, so that a broken download can go on."""

    def __init__(self, target: Path | IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(target, "w", allowZip64=True)
        self._files: dict[str, dict[str, Any]] = {}

    def add_document(self, document: Mapping[str, Any]) -> None:
        """Adds `generator.json`."""
        self._write(_DOCUMENT, iter([_json(document)]))

    def add_file(self, name: str, source: IO[bytes]) -> None:
        """Adds a file under its path in the archive."""
        self._write(name, iter(lambda: source.read(_CHUNK), b""))

    def _write(self, name: str, chunks: Iterator[bytes], *, listed: bool = True) -> None:
        digest, size = hashlib.sha256(), 0
        with self._zip.open(_entry(name), "w", force_zip64=True) as sink:
            for chunk in chunks:
                sink.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        if listed:
            self._files[name] = {"sha256": digest.hexdigest(), "size": size}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            manifest = {"format": FORMAT, "version": VERSION, "files": self._files}
            self._write(_MANIFEST, iter([_json(manifest)]), listed=False)
        self._zip.close()


class ArchiveReader:
    """Reads an archive that came from outside; every rule that it breaks is a `CorruptBundle`.

    Raises:
        CorruptBundle: It is not an archive of ours, is damaged, or has paths that lead out of it.
        LimitExceeded: It is larger than `limits` allow.
    """

    def __init__(self, source: Path, limits: ArchiveLimits = ArchiveLimits()) -> None:
        self._limits = limits
        try:
            self._zip = zipfile.ZipFile(source)
        except (zipfile.BadZipFile, OSError) as error:
            raise CorruptBundle(f"the file is not a generator that was exported: {error}") from error
        try:
            self._entries = self._checked_entries()
            self._listed = self._checked_manifest()
            self.document: dict[str, Any] = self._read_json(_DOCUMENT, self._listed[_DOCUMENT])
        except BaseException:
            self._zip.close()
            raise

    def names(self, folder: str) -> list[str]:
        """Returns the names of the files directly or indirectly in a folder, relative to it."""
        prefix = f"{folder.rstrip('/')}/"
        return [name.removeprefix(prefix) for name in self._listed if name.startswith(prefix)]

    def copy(self, name: str, write: Callable[[bytes], object]) -> None:
        """Hands a file's content to `write`, in pieces, and then checks it against the manifest."""
        for chunk in self._chunks(name, self._listed[name]):
            write(chunk)

    def _checked_entries(self) -> dict[str, zipfile.ZipInfo]:
        infos = self._zip.infolist()
        if len(infos) > self._limits.files:
            raise LimitExceeded(
                f"the archive has {len(infos)} files, at most {self._limits.files} are allowed",
                limit=str(self._limits.files),
            )
        entries: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            if not _NAME.fullmatch(info.filename) or info.filename in entries or _is_link(info):
                raise CorruptBundle(f"the archive has a file with the forbidden name {info.filename!r}")
            if info.flag_bits & 0x1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise CorruptBundle(
                    f"{info.filename} of the archive is encrypted or packed in an unknown way"
                )
            entries[info.filename] = info
        total = sum(info.file_size for info in infos)
        if total > self._limits.total_bytes:
            raise LimitExceeded(
                f"the archive unpacks to {total} bytes, at most {self._limits.total_bytes} are allowed",
                limit=str(self._limits.total_bytes),
            )
        return entries

    def _checked_manifest(self) -> dict[str, dict[str, Any]]:
        manifest = self._read_json(_MANIFEST, None)
        if manifest.get("format") != FORMAT:
            raise CorruptBundle("the file is a ZIP but not a generator that was exported")
        if manifest.get("version") != VERSION:
            raise CorruptBundle(
                f"the archive has format version {manifest.get('version')!r}, this platform reads {VERSION}; "
                "import it with a newer version"
            )
        files = manifest.get("files")
        if not isinstance(files, dict) or not all(map(_is_listing, files.values())):
            raise CorruptBundle(f"{_MANIFEST} of the archive does not list its files")
        if files.keys() | {_MANIFEST} != self._entries.keys() or _DOCUMENT not in files:
            raise CorruptBundle("the archive's files are not those that its manifest lists")
        return files

    def _read_json(self, name: str, listing: Mapping[str, Any] | None) -> dict[str, Any]:
        info = self._entries.get(name)
        if info is None:
            raise CorruptBundle(f"the archive has no {name}; it is not a generator that was exported")
        if info.file_size > self._limits.json_bytes:
            raise LimitExceeded(f"{name} of the archive is too large", limit=str(self._limits.json_bytes))
        try:
            document = json.loads(b"".join(self._chunks(name, listing)))
        except (ValueError, RecursionError) as error:
            raise CorruptBundle(f"{name} of the archive is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise CorruptBundle(f"{name} of the archive is not a JSON object")
        return document

    def _chunks(self, name: str, listing: Mapping[str, Any] | None) -> Iterator[bytes]:
        digest, size, most = hashlib.sha256(), 0, self._entries[name].file_size
        try:
            with self._zip.open(name) as source:
                while chunk := source.read(_CHUNK):
                    size += len(chunk)
                    if size > most:
                        raise CorruptBundle(f"{name} of the archive is larger than it says")
                    digest.update(chunk)
                    yield chunk
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError) as error:
            raise CorruptBundle(f"{name} of the archive cannot be unpacked: {error}") from error
        if listing is not None and (digest.hexdigest() != listing["sha256"] or size != listing["size"]):
            raise CorruptBundle(f"{name} of the archive is damaged: its checksum differs from the manifest's")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._zip.close()


def _entry(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    # Weights do not compress; JSON and reports do.
    info.compress_type = zipfile.ZIP_STORED if name.endswith(".safetensors") else zipfile.ZIP_DEFLATED
    info.external_attr = 0o600 << 16
    return info


def _is_link(info: zipfile.ZipInfo) -> bool:
    return (info.external_attr >> 28) == 0xA


def _is_listing(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("sha256"), str)
        and isinstance(value.get("size"), int)
    )


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1).encode()
