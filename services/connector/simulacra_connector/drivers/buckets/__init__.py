"""Buckets: S3, Azure Blob Storage and Google Cloud Storage, through Arrow's file systems."""

from collections.abc import Sequence
from typing import ClassVar

from simulacra_connector.drivers.buckets.filesystems import azure, google, google_children, s3
from simulacra_connector.drivers.buckets.session import BucketSession

__all__ = ["AzureSession", "GoogleSession", "S3Session"]


class S3Session(BucketSession):
    """Amazon S3, or a service that speaks its protocol."""

    open_filesystem = staticmethod(s3)


class AzureSession(BucketSession):
    """Azure Blob Storage."""

    open_filesystem = staticmethod(azure)


class GoogleSession(BucketSession):
    """Google Cloud Storage."""

    open_filesystem = staticmethod(google)
    opens_late: ClassVar[bool] = True

    def children(self, path: str) -> Sequence[str]:
        """Lists the project's buckets, or what is in a folder; Arrow's file system finds neither."""
        return google_children(self._connection, self._options, path)
