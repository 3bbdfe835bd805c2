"""A file system of Arrow's, and its files, with a time limit for each call."""

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.fs as pafs

from simulacra.errors import SourceUnreachable
from simulacra_connector.drivers.buckets.patience import Patience

__all__ = ["patient"]

T = TypeVar("T")

_PIECE = 2**24
"""The most bytes that one call asks for, or leaves to be sent: slow lines are given their time."""

_unclosed: list[pa.NativeFile] = []
"""What could not be closed. Arrow tries that again when it frees a file, and all of Python would wait."""


def patient(filesystem: pafs.FileSystem, patience: Patience) -> pafs.FileSystem:
    """Returns a file system whose calls, and those of the files that it opens, end in time.

    They raise SourceUnreachable where they would not, and else what the file system raises.
    """
    return pafs.PyFileSystem(_Handler(filesystem, patience))


class _Handler(pafs.FileSystemHandler):  # type: ignore[misc]  # pyarrow has no types
    def __init__(self, filesystem: pafs.FileSystem, patience: Patience) -> None:
        self._fs, self._patience = filesystem, patience

    def get_type_name(self) -> str:
        return f"patient+{self._fs.type_name}"

    def normalize_path(self, path: str) -> str:
        return str(self._fs.normalize_path(path))

    def get_file_info(self, paths: list[str]) -> Any:
        return self._patience.ask(lambda: self._fs.get_file_info(paths))

    def get_file_info_selector(self, selector: pafs.FileSelector) -> Any:
        return self._patience.ask(lambda: self._fs.get_file_info(selector))

    def create_dir(self, path: str, recursive: bool) -> None:
        self._patience.ask(lambda: self._fs.create_dir(path, recursive=recursive))

    def delete_dir(self, path: str) -> None:
        self._patience.ask(lambda: self._fs.delete_dir(path))

    def delete_dir_contents(self, path: str, missing_dir_ok: bool) -> None:
        self._patience.ask(lambda: self._fs.delete_dir_contents(path, missing_dir_ok=missing_dir_ok))

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError("nobody empties a whole account")

    def delete_file(self, path: str) -> None:
        self._patience.ask(lambda: self._fs.delete_file(path))

    def move(self, source: str, target: str) -> None:
        self._patience.ask(lambda: self._fs.move(source, target))

    def copy_file(self, source: str, target: str) -> None:
        self._patience.ask(lambda: self._fs.copy_file(source, target))

    def open_input_stream(self, path: str) -> pa.NativeFile:
        return self._opened("r", lambda: self._fs.open_input_stream(path, compression=None))

    def open_input_file(self, path: str) -> pa.NativeFile:
        return self._opened("r", lambda: self._fs.open_input_file(path))

    def open_output_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        return self._opened(
            "w", lambda: self._fs.open_output_stream(path, compression=None, metadata=metadata)
        )

    def open_append_stream(self, path: str, metadata: Any) -> pa.NativeFile:
        return self._opened(
            "w", lambda: self._fs.open_append_stream(path, compression=None, metadata=metadata)
        )

    def _opened(self, mode: str, open_file: Callable[[], pa.NativeFile]) -> pa.NativeFile:
        def tidy(call: "Future[pa.NativeFile]") -> None:
            if call.exception() is None:
                with suppress(Exception):
                    _close(call.result())

        return pa.PythonFile(_Opened(self._patience.ask(open_file, tidy), self._patience), mode=mode)


class _Opened:
    """An open file. After a call that was left open it is good for nothing, and closed by that call's end."""

    def __init__(self, file: pa.NativeFile, patience: Patience) -> None:
        self._file, self._patience = file, patience
        self._unsent = 0
        self.closed = False

    def read_buffer(self, size: int | None = None) -> pa.Buffer:
        left = -1 if size is None else size
        pieces: list[pa.Buffer] = []
        while left:
            wanted = _PIECE if left < 0 else min(left, _PIECE)
            piece = self._ask(partial(self._file.read_buffer, wanted))
            if not piece.size:
                break
            pieces.append(piece)
            left -= piece.size if left > 0 else 0
        return pieces[0] if len(pieces) == 1 else pa.py_buffer(b"".join(pieces))

    read = read_buffer

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        for start in range(0, len(view), _PIECE):
            piece = view[start : start + _PIECE]
            self._ask(partial(self._file.write, piece))
            self._unsent += len(piece)
            if self._unsent >= _PIECE:  # else Arrow, which sends in threads, would wait for all at the end
                self.flush()
        return len(view)

    def flush(self) -> None:
        self._ask(self._file.flush)
        self._unsent = 0

    def seek(self, position: int, whence: int = 0) -> int:
        return int(self._file.seek(position, whence))  # asks nobody

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        if not self.closed:
            try:
                self._ask(lambda: _close(self._file))
            finally:
                self.closed = True

    def _ask(self, work: Callable[[], T]) -> T:
        def tidy(_: "Future[T]") -> None:
            with suppress(Exception):
                _close(self._file)

        if self.closed:
            raise ValueError("the file is closed")
        try:
            return self._patience.ask(work, tidy)
        except SourceUnreachable:
            self.closed = True
            raise


def _close(file: pa.NativeFile) -> None:
    try:
        file.close()
    except BaseException:
        _unclosed.append(file)
        raise
