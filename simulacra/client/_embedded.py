"""An embedded stack for clients that are given no address: a process of its own, ended with this one.

The process is `python -m simulacra.stack`. A data folder has one stack at a time: if another process runs
it, its address is used. `stack.json` in the folder holds address and API key, readable by its owner only.

A temporary folder holds the user's data, so it must not outlive its use: the stack removes it when it ends,
which it does when this process ends in whatever way; this process removes it when the stack was killed; and
if both were killed, the next temporary stack does (`sweep_temporary`).
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from simulacra.errors import ServiceUnavailable, error_class

__all__ = [
    "EmbeddedStack",
    "Endpoint",
    "default_data_dir",
    "mark_temporary",
    "private_folder",
    "running_stack",
    "sweep_temporary",
]

TEMPORARY_PREFIX = "simulacra-"
TEMPORARY_MARK = "temporary"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a platform listens, the key that opens it, and the authority of its certificate."""

    address: str
    api_key: str | None = None
    tls_ca: Path | None = None


def default_data_dir() -> Path:
    """Returns SIMULACRA_DATA_DIR, or `~/.simulacra`."""
    return Path(os.environ.get("SIMULACRA_DATA_DIR") or Path.home() / ".simulacra")


def private_folder(path: Path) -> Path:
    """Makes a folder that only its owner can enter, and returns it."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def running_stack(data_dir: Path) -> Endpoint | None:
    """Returns the endpoint of the stack that holds the folder's lock; None when there is none that is up."""
    if not _is_locked(data_dir):
        return None
    try:
        described = json.loads((data_dir / "stack.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return Endpoint(described["address"], described["api_key"])


def _is_locked(data_dir: Path) -> bool:
    """Returns whether a live process runs a stack on the folder."""
    try:
        lock = (data_dir / "stack.lock").open("rb")
    except FileNotFoundError:
        return False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def mark_temporary(data_dir: Path) -> None:
    """Marks a folder as one to remove once no stack runs on it; for the process that holds its lock."""
    (data_dir / TEMPORARY_MARK).touch()


def sweep_temporary(root: Path | None = None) -> None:
    """Removes this user's temporary folders whose stack and client were both killed."""
    for folder in (root or Path(tempfile.gettempdir())).glob(f"{TEMPORARY_PREFIX}*"):
        try:
            ours = (folder / TEMPORARY_MARK).is_file() and folder.stat().st_uid == os.getuid()
            if ours and not folder.is_symlink() and not _is_locked(folder):
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # another user's, or removed meanwhile
            continue


class EmbeddedStack:
    """A stack started for this process, or the one that already runs on the same data folder.

    Raises:
        ServiceUnavailable: If the stack does not come up; the message has its last words.
    """

    def __init__(self, data_dir: Path | None = None, *, temporary: bool = False) -> None:
        self._temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX)) if temporary else None
        self.data_dir = private_folder(self._temporary or data_dir or default_data_dir())
        self._process: subprocess.Popen[str] | None = None
        try:
            self.endpoint = running_stack(self.data_dir) or self._start()
        except BaseException:  # also Ctrl-C
            _end(self._process, self._temporary)
            raise
        self._finalizer = weakref.finalize(self, _end, self._process, self._temporary)

    def _start(self) -> Endpoint:
        path = self.data_dir / "stack.log"
        with path.open("a+") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "simulacra.stack", "--data-dir", str(self.data_dir)),
                    *(["--temporary"] if self._temporary else []),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # Ctrl-C is for this process alone; the stack ends with its stdin
            )
            described = _first_line(self._process.stdout)
            if "address" in described:
                return Endpoint(described["address"], described["api_key"])
            _end(self._process, None)
            log.seek(0)
            last = log.read().strip().rpartition("\n")[2][-500:]
        ended = f"it ended with exit code {self._process.returncode}; the end of its log: {last or 'nothing'}"
        where = "" if self._temporary else f"; its log is {path}"
        cls = error_class(described["reason"]) if "reason" in described else ServiceUnavailable
        raise cls(f"the embedded stack did not start: {described.get('error', ended)}{where}")

    @property
    def temporary(self) -> bool:
        """Whether the folder goes with the stack."""
        return self._temporary is not None

    def close(self) -> None:
        """Ends the stack if this process started it, and removes a temporary folder."""
        self._finalizer()

    def __enter__(self) -> "EmbeddedStack":
        return self

    def __exit__(self, *exception: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def _first_line(stream: IO[str] | None) -> dict[str, str]:
    """Returns what the stack says about itself once it listens; empty when it ended without a word."""
    line = stream.readline() if stream else ""
    try:
        described = json.loads(line)
    except ValueError:
        return {}
    return described if isinstance(described, dict) else {}


def _end(process: "subprocess.Popen[str] | None", temporary: Path | None) -> None:
    if process is not None:
        if process.stdin:
            process.stdin.close()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()
    if temporary is not None:
        shutil.rmtree(temporary, ignore_errors=True)
