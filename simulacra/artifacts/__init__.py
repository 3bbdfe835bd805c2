"""Files that services hand to each other by name: tables, model bundles, reports, downloads."""

from simulacra.artifacts.reader import Artifact, rows_at_once
from simulacra.artifacts.store import ArtifactManifest, ArtifactStore
from simulacra.artifacts.writer import ArtifactWriter

__all__ = ["Artifact", "ArtifactManifest", "ArtifactStore", "ArtifactWriter", "rows_at_once"]
