"""The file of an exported generator: the same bytes for the same content, and hostile ones are refused."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from simulacra.errors import CorruptBundle, LimitExceeded
from simulacra_trainer.archive import ArchiveLimits, ArchiveReader, ArchiveWriter

DOCUMENT = {"generator": {"name": "people"}}
WEIGHTS = bytes(range(256)) * 20


def write(path: Path) -> Path:
    with ArchiveWriter(path) as archive:
        archive.add_file("models/0/TABULAR/bundle/weights.safetensors", io.BytesIO(WEIGHTS))
        archive.add_document(DOCUMENT)
    return path


def rewrite(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Writes the archive again with other files."""
    with zipfile.ZipFile(path) as source:
        files = {name: source.read(name) for name in source.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in files.items():
            target.writestr(name, data)
    return path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    with ArchiveReader(write(tmp_path / "a.zip")) as archive:
        assert archive.document == DOCUMENT
        assert archive.names("models/0/TABULAR/bundle") == ["weights.safetensors"]
        content = io.BytesIO()
        archive.copy("models/0/TABULAR/bundle/weights.safetensors", content.write)
    assert content.getvalue() == WEIGHTS


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "a.zip").read_bytes() == write(tmp_path / "b.zip").read_bytes()


def test_a_changed_file_is_found_out(tmp_path: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        files["models/0/TABULAR/bundle/weights.safetensors"] = b"\x01" + WEIGHTS[1:]

    with (
        ArchiveReader(rewrite(write(tmp_path / "a.zip"), change)) as archive,
        pytest.raises(CorruptBundle, match="checksum"),
    ):
        archive.copy("models/0/TABULAR/bundle/weights.safetensors", lambda _: None)


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/passwd", "a/../../b", "a\\b", "C:/x", "a//b", "./a", ".hidden"]
)
def test_a_path_out_of_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    path = rewrite(write(tmp_path / "a.zip"), lambda files: files.update({name: b"x"}))
    with pytest.raises(CorruptBundle, match="forbidden name"):
        ArchiveReader(path)


def test_a_file_that_the_manifest_does_not_list_is_refused(tmp_path: Path) -> None:
    path = rewrite(write(tmp_path / "a.zip"), lambda files: files.update({"extra": b"x"}))
    with pytest.raises(CorruptBundle, match="not those that its manifest lists"):
        ArchiveReader(path)


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as target:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        target.writestr(link, "/etc/passwd")
    with pytest.raises(CorruptBundle, match="forbidden name"):
        ArchiveReader(path)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    path = rewrite(write(tmp_path / "a.zip"), lambda files: files.update({"bomb": bytes(1 << 20)}))
    with pytest.raises(LimitExceeded, match="unpacks to"):
        ArchiveReader(path, ArchiveLimits(total_bytes=1 << 19))
    with pytest.raises(LimitExceeded, match="files"):
        ArchiveReader(path, ArchiveLimits(files=2))


def test_another_version_is_refused_with_the_way_out(tmp_path: Path) -> None:
    def change(files: dict[str, bytes]) -> None:
        manifest = json.loads(files["manifest.json"])
        files["manifest.json"] = json.dumps(manifest | {"version": 99}).encode()

    with pytest.raises(CorruptBundle, match="newer version"):
        ArchiveReader(rewrite(write(tmp_path / "a.zip"), change))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04nonsense", b"hello", b"\x00" * 100])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(CorruptBundle, match="not a generator"):
        ArchiveReader(path)


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.zip")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(CorruptBundle):
        ArchiveReader(path)
