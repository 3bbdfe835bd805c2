# Made from simulacra/client/_aio/__init__.py by `python -m simulacra.client._unasync`; do not edit.
"""The asynchronous client, written by hand; `_sync` is made from it (see `_unasync.py`)."""
