"""The manifest of an artifact: what it is, and each file's size and sha256; it is written last."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from simulacra.errors import CorruptBundle, InvalidArgument

__all__ = ["MANIFEST_FILE", "ArtifactManifest", "FileEntry", "check_file", "check_name", "is_data_folder"]

MANIFEST_FILE = "manifest.json"
_FORMAT_VERSION = 1
_PART = re.compile(r"[A-Za-z0-9_=+@~%-][A-Za-z0-9._=+@~%-]{0,199}")
_DATA_FOLDER = re.compile(r"data-[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file: where it is below the artifact's folder, its size in bytes, its sha256 in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ArtifactManifest:
    """What an artifact is.

    Attributes:
        kind: What it holds, such as `table` or `bundle`.
        rows: Number of rows of a table.
        created_at: When it was published.
        files: Its files by name.
        schema: A table's Arrow schema, serialized.
        attributes: JSON of whoever made it.
    """

    kind: str
    rows: int | None
    created_at: datetime
    files: Mapping[str, FileEntry]
    schema: bytes | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """The size of all files, in bytes."""
        return sum(entry.size for entry in self.files.values())

    def to_json(self) -> bytes:
        """Returns the manifest's bytes."""
        document = {
            "format_version": _FORMAT_VERSION,
            "kind": self.kind,
            "rows": self.rows,
            "created_at": self.created_at.isoformat(),
            "files": {
                name: {"path": entry.path, "size": entry.size, "sha256": entry.sha256}
                for name, entry in self.files.items()
            },
            "schema": self.schema.hex() if self.schema is not None else None,
            "attributes": dict(self.attributes),
        }
        return json.dumps(document, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "ArtifactManifest":
        """Reads what `to_json` wrote.

        Raises:
            CorruptBundle: It is damaged, or of a version that this code does not know.
        """
        try:
            document = json.loads(data)
            version = document["format_version"]
            if version != _FORMAT_VERSION:
                raise CorruptBundle(
                    f"the artifact has format version {version!r}, this code reads {_FORMAT_VERSION}"
                )
            entries = {name: FileEntry(**entry) for name, entry in document["files"].items()}
            for name, entry in entries.items():
                check_file(name)
                check_name(entry.path)
            schema = document["schema"]
            return cls(
                kind=document["kind"],
                rows=document["rows"],
                created_at=datetime.fromisoformat(document["created_at"]),
                files=entries,
                schema=bytes.fromhex(schema) if schema is not None else None,
                attributes=document["attributes"],
            )
        except (ValueError, TypeError, KeyError, AttributeError, InvalidArgument) as error:
            raise CorruptBundle(f"the artifact's manifest is damaged: {error}") from error


def check_name(name: str) -> str:
    """Returns `name` if it is safe as a path.

    That is `a/b/c` of letters, digits and `._=+@~%-`, and no part begins with a dot.

    Raises:
        InvalidArgument: It is not.
    """
    if not all(_PART.fullmatch(part) for part in name.split("/")):
        raise InvalidArgument(f"{name!r} is not the name of an artifact or of a file in one")
    return name


def check_file(name: str) -> str:
    """Returns `name` if it may be a file's name within an artifact.

    Raises:
        InvalidArgument: It may not.
    """
    if name == MANIFEST_FILE:
        raise InvalidArgument(f"{name!r} is kept for the manifest itself")
    return check_name(name)


def is_data_folder(part: str) -> bool:
    """Whether a folder's name is one that writers choose for an artifact's files."""
    return _DATA_FOLDER.fullmatch(part) is not None
