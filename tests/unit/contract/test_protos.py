"""The .proto files are clean, formatted, compatible with the last release, and import nothing foreign."""

import subprocess
import sys
from pathlib import Path

import pytest

PROTO = Path(__file__).parents[3] / "proto"
SOURCES = sorted((PROTO / "simulacra/v1").glob("*.proto"))
BUF = Path(sys.executable).with_name("buf")


@pytest.mark.parametrize(
    "command",
    [["lint"], ["format", "-d", "--exit-code"], ["breaking", "--against", "released.binpb"]],
    ids=lambda command: command[0],
)
def test_buf_finds_nothing(command: list[str]) -> None:
    done = subprocess.run([BUF, *command], cwd=PROTO, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_imports_are_of_this_folder_or_come_with_protoc(source: Path) -> None:
    imports = [line.split('"')[1] for line in source.read_text().splitlines() if line.startswith("import ")]
    assert [name for name in imports if not name.startswith(("simulacra/v1/", "google/protobuf/"))] == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_other_languages_have_their_packages(source: Path) -> None:
    text = source.read_text()
    assert 'syntax = "proto3";' in text
    for option in ("go_package", "java_package", "java_multiple_files", "csharp_namespace"):
        assert f"option {option} = " in text
