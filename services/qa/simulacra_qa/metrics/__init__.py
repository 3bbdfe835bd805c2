"""The metrics: each module turns arrays into numbers, and knows nothing of files, services or pictures."""

__all__: list[str] = []
