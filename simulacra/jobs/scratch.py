"""Local folders of running tasks, named after the process that owns them."""

import os
import shutil
import tempfile
from pathlib import Path

__all__ = ["DEFAULT_SCRATCH", "new_scratch", "sweep_scratch"]

DEFAULT_SCRATCH = Path(tempfile.gettempdir()) / f"simulacra-scratch-{os.getuid()}"
"""Each user has one: another user could not enter it."""


def sweep_scratch(root: Path) -> None:
    """Makes the root, and deletes the folders in it (`<pid>-...`) whose process no longer exists."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in root.iterdir():
        pid = folder.name.partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def new_scratch(root: Path) -> Path:
    """Makes a folder of this process in the root, one that no other executor of the process has."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=root))
