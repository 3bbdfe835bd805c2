"""Files that services hand to each other by name: tables, model bundles, reports, downloads."""

from simulacra.artifacts.reader import Artifact
from simulacra.artifacts.store import ArtifactManifest, ArtifactStore
from simulacra.artifacts.writer import ArtifactWriter

__all__ = ["Artifact", "ArtifactManifest", "ArtifactStore", "ArtifactWriter"]
