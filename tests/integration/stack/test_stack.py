"""The embedded stack: one per data folder, private, and gone when its user is."""

import os
import socket
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import psutil
import pytest

from simulacra.client import AsyncSimulacra, Simulacra
from simulacra.client._embedded import EmbeddedStack, mark_temporary, running_stack, sweep_temporary
from simulacra.errors import DatabaseUnavailable, InvalidArgument, ServiceUnavailable
from simulacra.stack import Stack, StackRunning
from tests.certificates import self_signed
from tests.e2e.platform import free_port

END_SECONDS = 30


async def test_a_stack_in_this_process_serves_until_it_is_left(tmp_path: Path) -> None:
    others = psutil.Process().children(recursive=True)
    async with Stack(tmp_path) as stack:
        assert stack.ports.keys() == {"connector", "qa", "trainer", "generator", "gateway"}
        async with AsyncSimulacra(stack.address, stack.api_key) as client:
            assert (await client.about()).version
        workers = [child for child in psutil.Process().children(recursive=True) if child not in others]
        assert workers
        assert running_stack(tmp_path) == stack.endpoint
        key = stack.api_key
    assert running_stack(tmp_path) is None
    _, alive = psutil.wait_procs(workers, timeout=END_SECONDS)
    assert alive == []
    assert (tmp_path / "api_key").read_text().strip() == key


async def test_keys_can_be_read_by_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    async with Stack(folder):
        assert folder.stat().st_mode & 0o077 == 0
        for name in ("api_key", "internal.key", "stack.json", "secrets.key"):
            assert (folder / name).stat().st_mode & 0o077 == 0, name


async def test_a_folder_has_one_stack(tmp_path: Path) -> None:
    async with Stack(tmp_path) as stack:
        with pytest.raises(StackRunning) as caught:
            async with Stack(tmp_path):
                raise AssertionError("two stacks on one folder")
        assert caught.value.endpoint == stack.endpoint
    async with Stack(tmp_path) as again:
        assert again.api_key == stack.api_key


def test_a_second_client_attaches_to_the_first_ones_stack(tmp_path: Path) -> None:
    with Simulacra(data_dir=tmp_path) as first:
        first.about()
        with Simulacra(data_dir=tmp_path) as second:
            second.about()
            assert second.address == first.address
        assert first.about().version  # the second took nothing with it
    assert running_stack(tmp_path) is None


def family_of(stack: EmbeddedStack) -> list[psutil.Process]:
    assert stack._process is not None
    parent = psutil.Process(stack._process.pid)
    return [parent, *parent.children(recursive=True)]


def test_a_killed_stack_leaves_nothing_in_the_way(tmp_path: Path) -> None:
    with EmbeddedStack(tmp_path) as killed:
        family = family_of(killed)
        family[0].kill()
        _, alive = psutil.wait_procs(family, timeout=END_SECONDS)
        assert alive == []
    with EmbeddedStack(tmp_path) as fresh:
        assert fresh.endpoint.address != killed.endpoint.address
        assert fresh.endpoint.api_key == killed.endpoint.api_key


OWNER = """
import os, sys
from pathlib import Path
from simulacra.client._embedded import EmbeddedStack
stack = EmbeddedStack(Path(sys.argv[1])) if len(sys.argv) > 1 else EmbeddedStack(temporary=True)
print(stack._process.pid, stack.data_dir, flush=True)
sys.stdin.read()
"""


def test_the_stack_ends_when_its_user_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        stack = psutil.Process(int(owner.stdout.readline().split()[0]))
        family = [stack, *stack.children(recursive=True)]
        owner.kill()
    _, alive = psutil.wait_procs(family, timeout=END_SECONDS)
    assert alive == []


def test_a_stack_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "connector.db").mkdir()
    with pytest.raises(DatabaseUnavailable, match=r"did not start.*stack\.log"):
        EmbeddedStack(tmp_path)


@pytest.mark.parametrize("data_dir", ["kept", ":temporary:"])
def test_a_wrong_setting_is_named_and_no_secret_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_dir: str
) -> None:
    monkeypatch.setenv("SIMULACRA_EXECUTOR", "elsewhere")
    folder = tmp_path / data_dir if data_dir == "kept" else data_dir
    with (
        pytest.raises(
            InvalidArgument, match=r"SIMULACRA_EXECUTOR: Input should be 'process' or 'ray'"
        ) as caught,
        Simulacra(data_dir=folder) as client,
    ):
        client.about()
    assert "input_value" not in caught.value.message
    assert ("stack.log" in caught.value.message) == (data_dir == "kept")


async def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InvalidArgument, match=f"127.0.0.1:{port} cannot be listened on"):
            async with Stack(tmp_path, port=port):
                pass


def test_the_gateway_alone_has_the_ops_port_and_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = self_signed(tmp_path)
    ops_port = free_port()
    monkeypatch.setenv("SIMULACRA_OPS_PORT", str(ops_port))
    monkeypatch.setenv("SIMULACRA_TLS_CERTIFICATE", str(certificate))
    monkeypatch.setenv("SIMULACRA_TLS_KEY", str(key))
    with Simulacra(data_dir=tmp_path / "data", tls_ca=certificate) as client:
        generators = client.generators.list()  # of a service behind the gateway
        with urllib.request.urlopen(f"http://127.0.0.1:{ops_port}/readyz") as answer:
            assert answer.read() == b"ready\n"
        assert generators == []
        endpoint = running_stack(tmp_path / "data")
        assert endpoint is not None
        assert endpoint.address.startswith("https://127.0.0.1:")
        with Simulacra(endpoint.address, endpoint.api_key) as stranger, pytest.raises(ServiceUnavailable):
            stranger.about()  # the system does not vouch for the certificate
        monkeypatch.setenv("SIMULACRA_TLS_CA", str(certificate))
        with Simulacra(endpoint.address, endpoint.api_key) as other:
            assert other.about().version
        with (
            pytest.raises(InvalidArgument, match="tls_ca"),
            Simulacra(endpoint.address, tls_ca="no.pem") as lost,
        ):
            lost.about()


def test_a_temporary_folder_goes_with_its_client() -> None:
    stack = EmbeddedStack(temporary=True)
    folder = stack.data_dir
    assert folder.exists()
    stack.close()
    assert not folder.exists()


def test_a_temporary_folder_goes_when_its_client_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid, folder = owner.stdout.readline().split()
        stack = psutil.Process(int(pid))
        owner.kill()
    psutil.wait_procs([stack], timeout=END_SECONDS)
    assert not Path(folder).exists()


async def test_what_killed_stacks_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    left, kept, foreign = (tmp_path / f"simulacra-{name}" for name in ("left", "kept", "foreign"))
    for folder in (left, kept, foreign):
        folder.mkdir()
    (left / "stack.lock").touch()
    mark_temporary(left)
    (foreign / "stack.lock").touch()
    async with Stack(kept):
        mark_temporary(kept)
        sweep_temporary(tmp_path)
        assert sorted(os.listdir(tmp_path)) == [foreign.name, kept.name]


def test_a_temporary_stack_that_does_not_start_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ServiceUnavailable, match="exit code 1"):
        EmbeddedStack(temporary=True)
    assert list(tmp_path.iterdir()) == []
