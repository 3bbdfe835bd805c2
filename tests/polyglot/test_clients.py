"""Clients in other languages, made from the .proto files alone, train and probe through the gateway."""

import asyncio
import csv
import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from simulacra.stack import Stack
from tests.require import require

HERE = Path(__file__).parent
PROTO = HERE.parents[1] / "proto"
DEBIAN_GO_SOURCES = Path("/usr/share/gocode")
COLUMNS = ["age", "city", "income"]

pytestmark = [pytest.mark.polyglot, pytest.mark.timeout(300)]


@pytest.fixture(scope="session")
def node_client() -> list[str]:
    """The command of the Node client, its two packages installed beside it."""
    require("polyglot", all(map(shutil.which, ("node", "npm"))), "Node or npm is not installed")
    folder = HERE / "node"
    if not (folder / "node_modules" / "@grpc" / "grpc-js").exists():
        install = ["npm", "install", "--no-audit", "--no-fund", "--silent"]
        done = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False, timeout=180)
        require("polyglot", done.returncode == 0, f"npm cannot install @grpc/grpc-js: {done.stderr[-300:]}")
    return ["node", str(folder / "client.js"), str(PROTO)]


@pytest.fixture(scope="session")
def go_client(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The Go client, generated and compiled with Debian's packages."""
    tools = ("go", "protoc", "protoc-gen-go", "protoc-gen-go-grpc")
    require("polyglot", all(map(shutil.which, tools)), f"one of {', '.join(tools)} is not installed")
    require(
        "polyglot",
        (DEBIAN_GO_SOURCES / "src/google.golang.org/grpc").exists(),
        "golang-google-grpc-dev is not installed",
    )
    gopath = tmp_path_factory.mktemp("go")
    source = gopath / "src"
    source.mkdir()
    protos = [str(path) for path in sorted(PROTO.rglob("*.proto"))]
    subprocess.run(
        ["protoc", f"-I{PROTO}", f"--go_out={source}", f"--go-grpc_out={source}", *protos], check=True
    )
    shutil.copytree(HERE / "go" / "client", source / "client")
    environment = os.environ | {
        "GO111MODULE": "off",
        "GOPATH": f"{gopath}:{DEBIAN_GO_SOURCES}",
        "GOCACHE": str(gopath / "cache"),
    }
    binary = gopath / "client"
    subprocess.run(
        ["go", "build", "-o", str(binary), "."], cwd=source / "client", env=environment, check=True
    )
    return [str(binary)]


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """A small CSV file."""
    draw = random.Random(0)
    path = tmp_path / "people.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for _ in range(600):
            age = draw.randint(18, 90)
            writer.writerow([age, draw.choice(["Graz", "Linz", "Wien"]), age * 1000 + draw.randint(0, 5000)])
    return path


async def run_client(command: list[str], data_dir: Path, people: Path) -> list[dict[str, Any]]:
    async with Stack(data_dir) as stack:
        client = await asyncio.create_subprocess_exec(
            *command,
            stack.address,
            str(people),
            env=os.environ | {"SIMULACRA_API_KEY": stack.api_key},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await client.communicate()
        assert client.returncode == 0, errors.decode()
    return [json.loads(line) for line in output.decode().splitlines()]


@pytest.mark.parametrize("language", ["node", "go"])
async def test_client_trains_watches_and_probes(
    language: str, people: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    command = request.getfixturevalue(f"{language}_client")
    events = await run_client(command, tmp_path / "data", people)
    generator, *jobs, probe = events
    assert generator["columns"] == COLUMNS
    revisions = [job["revision"] for job in jobs]
    assert revisions == sorted(set(revisions))
    assert jobs[-1]["status"] == "PROGRESS_STATUS_DONE"
    assert [sorted(row) for row in probe["rows"]] == [sorted(COLUMNS)] * 3
