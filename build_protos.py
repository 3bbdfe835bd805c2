"""Compiles proto/ into the package simulacra.v1; a build hook and a command (`python build_protos.py`).

Generated code is built, never committed: the proto path, the proto package and the Python package are the
same words (`simulacra/v1`), so the generated imports need no rewriting.
"""

import os
import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent


def build(root: Path = ROOT) -> None:
    """Replaces `simulacra/v1` by messages, services and their type stubs compiled from `proto/`.

    A failed build leaves the old package as it was.

    Raises:
        RuntimeError: If protoc refuses a file; its own message has been printed.
    """
    from grpc_tools import protoc

    sources = sorted((root / "proto").rglob("*.proto"))
    if not sources:
        raise RuntimeError(f"no .proto files below {root / 'proto'}")
    # protoc looks for the plugins on PATH; under pip they are beside the build environment's interpreter.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    well_known = resources.files("grpc_tools") / "_proto"
    outputs = {"python": "", "grpc_python": "", "mypy": "quiet:", "mypy_grpc": "quiet:"}
    with tempfile.TemporaryDirectory(dir=root, prefix=".build-protos-") as scratch:
        if protoc.main(
            ["protoc", f"-I{root / 'proto'}", f"-I{well_known}"]
            + [f"--{output}_out={options}{scratch}" for output, options in outputs.items()]
            + [str(source) for source in sources]
        ):
            raise RuntimeError("protoc failed; see the messages above")
        built = Path(scratch) / "simulacra" / "v1"
        (built / "__init__.py").write_text('"""Code generated from proto/simulacra/v1."""\n')
        (built / "py.typed").touch()
        package = root / "simulacra" / "v1"
        shutil.rmtree(package, ignore_errors=True)
        built.rename(package)


class ProtoBuildHook(BuildHookInterface[Any]):
    """Runs `build` before hatchling collects the files of a wheel or an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles the protos of the source tree that is being built."""
        build(Path(self.root))


if __name__ == "__main__":
    build()
