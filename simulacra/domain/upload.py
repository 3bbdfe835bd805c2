"""Uploads: files sent in chunks that become FILE_UPLOAD connectors."""

from simulacra.domain.base import Count, Identifier, Model, Timestamp
from simulacra.domain.connector import Connector

__all__ = ["Upload"]


class Upload(Model):
    """The state of an upload; the next chunk starts at `committed_size`, `connector` is set at the end."""

    id: Identifier
    file_name: str
    committed_size: Count = 0
    total_size: Count | None = None
    connector: Connector | None = None
    expires_at: Timestamp | None = None
