"""What a result must say of where it was measured."""

import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

__all__ = ["describe", "milliseconds"]


def describe(*packages: str) -> dict[str, object]:
    """Returns cores, processor type, Python and the versions of `packages`."""
    versions: dict[str, str | None] = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
        "versions": versions,
    }


def milliseconds(seconds: Sequence[float]) -> dict[str, float]:
    """Summarises durations: median, 90th and 99th percentile, and the largest, in milliseconds."""
    ordered = sorted(seconds)
    tail = {
        f"p{percent}": ordered[min(len(ordered) - 1, percent * len(ordered) // 100)] for percent in (90, 99)
    }
    summary = {"median": statistics.median(ordered), **tail, "max": ordered[-1]}
    return {name: round(value * 1000, 3) for name, value in summary.items()}
