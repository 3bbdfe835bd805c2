"""Imported generators are untrusted: what is wrong with one is said, and nothing of it stays."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from simulacra.client import Generator, Simulacra
from simulacra.client._embedded import EmbeddedStack
from simulacra.errors import CorruptBundle

WEIGHTS = "models/0/TABULAR/bundle/weights.safetensors"
Change = Callable[[dict[str, bytes]], None]


def forged(path: Path, change: Change) -> Path:
    """Changes files of an exported generator, and its manifest with them."""
    with zipfile.ZipFile(path) as source:
        files = {name: source.read(name) for name in source.namelist() if name != "manifest.json"}
    change(files)
    listed = {n: {"sha256": hashlib.sha256(d).hexdigest(), "size": len(d)} for n, d in files.items()}
    manifest = {"format": "simulacra-generator", "version": 1, "files": listed}
    with zipfile.ZipFile(path, "w") as target:
        for name, data in (files | {"manifest.json": json.dumps(manifest).encode()}).items():
            target.writestr(name, data)
    return path


def other_weights(files: dict[str, bytes]) -> None:
    files[WEIGHTS] = b"cos\nsystem\n(S'id'\ntR." + files[WEIGHTS]


def no_model(files: dict[str, bytes]) -> None:
    del files[WEIGHTS]


def other_table(files: dict[str, bytes]) -> None:
    document = json.loads(files["generator.json"])
    document["models"][0]["table"] = 5
    files["generator.json"] = json.dumps(document).encode()


def other_schema(files: dict[str, bytes]) -> None:
    files["models/0/TABULAR/bundle/table.json"] = b'{"schema": "00ff", "keys": {}}'


def no_generator(files: dict[str, bytes]) -> None:
    files["generator.json"] = b'{"generator": {"tables": [{"name": 1}]}, "models": []}'


@pytest.mark.parametrize("change", [other_weights, no_model, other_table, other_schema, no_generator])
def test_a_forged_archive_leaves_nothing(
    client: Simulacra, embedded: EmbeddedStack, trained: Generator, tmp_path: Path, change: Change
) -> None:
    artifacts = embedded.data_dir / "artifacts" / "generators"
    path = forged(trained.export_to_file(tmp_path / "generator.zip"), change)
    before, listed = sorted(artifacts.iterdir()), len(client.generators.list())
    with pytest.raises(CorruptBundle):
        client.generators.import_from_file(path)
    assert sorted(artifacts.iterdir()) == before
    assert len(client.generators.list()) == listed


def test_scripts_of_an_imported_report_are_switched_off(
    client: Simulacra, trained: Generator, tmp_path: Path
) -> None:
    def change(files: dict[str, bytes]) -> None:
        files["models/0/TABULAR/report/report.html"] = b"<script>alert(1)</script>"

    path = forged(trained.export_to_file(tmp_path / "generator.zip"), change)
    imported = client.generators.import_from_file(path, name="with a script")
    (report,) = imported.reports(tmp_path / "reports")
    text = report.read_text()
    assert text.index("default-src 'none'") < text.index("<script>")
    imported.delete()
