"""The gateway as a process: settings, migration, readiness, signals."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from simulacra.rpc import open_channel
from simulacra.v1 import platform_pb2, platform_pb2_grpc
from tests.integration.gateway.upstream import KEY


async def run(*arguments: str, **settings: str) -> asyncio.subprocess.Process:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SIMULACRA_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "simulacra_gateway",
        *arguments,
        env={**environment, **{f"SIMULACRA_{name.upper()}": value for name, value in settings.items()}},
        stderr=asyncio.subprocess.PIPE,
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    async with asyncio.timeout(30):
        _, errors = await process.communicate()
    return process.returncode, errors.decode()


async def test_wrong_settings_are_named_and_end_with_2(tmp_path: Path) -> None:
    code, text = await ended(await run(data_dir=str(tmp_path)))
    assert (code, text) == (2, "SIMULACRA_INTERNAL_KEY: is required; docs/operations.md says what it is\n")
    code, text = await ended(await run(data_dir=str(tmp_path), internal_key=KEY, host="0.0.0.0"))
    assert code == 2
    assert "no TLS" in text


async def test_migrate_makes_the_database_and_ends(tmp_path: Path) -> None:
    code, _ = await ended(await run("migrate", data_dir=str(tmp_path), internal_key=KEY))
    assert code == 0
    assert (tmp_path / "gateway.db").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_a_signal_and_logs_json(tmp_path: Path, number: signal.Signals) -> None:
    process = await run(data_dir=str(tmp_path), internal_key=KEY, ops_port="0", log_format="json")
    assert process.stderr is not None
    async with asyncio.timeout(30):
        while (line := json.loads(await process.stderr.readline()))["event"] != "serving":
            pass
    async with open_channel(f"127.0.0.1:{line['port']}") as channel:
        await platform_pb2_grpc.PlatformServiceStub(channel).GetAbout(platform_pb2.GetAboutRequest())
    reader, writer = await asyncio.open_connection("127.0.0.1", line["ops_port"])
    writer.write(b"GET /readyz HTTP/1.1\r\n\r\n")
    assert b"200 OK" in await reader.read()
    writer.close()
    process.send_signal(number)
    code, rest = await ended(process)
    assert code == 0
    assert [json.loads(line)["event"] for line in rest.splitlines() if line.startswith("{")][-1] == "stopped"
