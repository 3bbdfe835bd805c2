"""The setting that says where the embedding model's weights are; the library has it too."""

import os
from pathlib import Path

__all__ = ["embedder_path"]


def embedder_path() -> Path | None:
    """Returns the folder that SIMULACRA_EMBEDDER_PATH names, if it is set."""
    configured = os.environ.get("SIMULACRA_EMBEDDER_PATH")
    return Path(configured) if configured else None
