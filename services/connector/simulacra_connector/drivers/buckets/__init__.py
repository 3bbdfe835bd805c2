"""Buckets: S3, Azure Blob Storage and Google Cloud Storage, through Arrow's file systems."""

from collections.abc import Sequence
from typing import ClassVar

import pyarrow.fs as pafs

from simulacra_connector.drivers.base import SessionOptions
from simulacra_connector.drivers.buckets.filesystems import azure, google, google_children, s3
from simulacra_connector.drivers.buckets.regions import bucket_region
from simulacra_connector.drivers.buckets.session import BucketSession
from simulacra_connector.types import Connection

__all__ = ["AzureSession", "GoogleSession", "S3Session"]


class S3Session(BucketSession):
    """Amazon S3, or a service that speaks its protocol."""

    open_filesystem = staticmethod(s3)

    def __init__(self, connection: Connection, options: SessionOptions) -> None:
        super().__init__(connection, options)
        self._of_buckets: dict[str, pafs.FileSystem] = {}

    def at(self, path: str) -> pafs.FileSystem:
        """Returns what reaches a path: signed for its bucket's region, which is asked for once."""
        bucket = path.partition("/")[0]
        if bucket and bucket not in self._of_buckets:
            region = bucket_region(self._connection, self._options, bucket)
            opened = s3(self._connection, self._options, self._scratch, region=region)
            self._of_buckets[bucket] = self._stack.enter_context(opened)
        return self._of_buckets[bucket] if bucket else self._fs


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
