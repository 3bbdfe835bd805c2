"""The locations of buckets, `bucket/path`."""

from simulacra.errors import InvalidArgument

__all__ = ["object_path"]


def object_path(location: str) -> str:
    """Returns `bucket/path` without slashes around it; the bucket that it begins with is the one reached.

    Raises:
        InvalidArgument: It is a URL, or has a step such as `..` that a server may resolve to another bucket.
    """
    path = location.strip("/")
    if ":" in path.partition("/")[0]:
        raise InvalidArgument.of("location", f"{location!r} is a URL; give bucket/path")
    if path and any(step in ("", ".", "..") for step in path.split("/")):
        raise InvalidArgument.of("location", f"{location!r} has an empty step, '.' or '..'; give bucket/path")
    return path
