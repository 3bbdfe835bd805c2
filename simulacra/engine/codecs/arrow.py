"""Arrow columns of any type as the plain arrays that codecs work on, and back as they went in."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulacra.engine.codecs._json import type_to_json
from simulacra.errors import UnsupportedData

__all__ = ["holds_text", "plain", "restored", "working_type"]

_UUID_PATTERN = "^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"
_HYPHENS = (8, 12, 16, 20)


@dataclass(frozen=True, slots=True)
class _Extension:
    """How an extension type is learnt: on its storage, or on a text that is written and read here."""

    kind: pa.DataType | None = None
    write: Callable[[pa.Array], pa.Array] = lambda storage: storage
    read: Callable[[pa.Array], pa.Array] = lambda plain: plain


def _uuid_texts(storage: pa.Array) -> pa.Array:
    """Writes UUIDs of 16 bytes as 36 characters."""
    if not len(storage):
        return pa.array([], pa.string())
    filled = storage.fill_null(bytes(16)) if storage.null_count else storage
    digits = pa.array(np.frombuffer(b"".join(filled.to_pylist()).hex().encode(), "S32").astype(str))
    cuts = (0, *_HYPHENS, 32)
    parts = [pc.utf8_slice_codeunits(digits, a, b) for a, b in itertools.pairwise(cuts)]
    return _with_nulls(pc.binary_join_element_wise(*parts, "-"), storage)


def _uuid_bytes(texts: pa.Array) -> pa.Array:
    """Reads UUIDs of 36 characters; raises ArrowInvalid for a text that is none."""
    wrong = pc.invert(pc.match_substring_regex(texts, _UUID_PATTERN)).fill_null(False)
    if pc.any(wrong).as_py():
        raise pa.ArrowInvalid(f"{texts.filter(wrong)[0].as_py()!r} is no UUID")
    digits = pc.replace_substring(texts.fill_null("0" * 32), "-", "")
    data = bytes.fromhex("".join(digits.to_pylist()))
    return _with_nulls(
        pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(texts), [None, pa.py_buffer(data)]), texts
    )


def _with_nulls(values: pa.Array, where: pa.Array) -> pa.Array:
    return pc.if_else(where.is_valid(), values, pa.scalar(None, values.type)) if where.null_count else values


_EXTENSIONS = {
    "arrow.uuid": _Extension(pa.string(), _uuid_texts, _uuid_bytes),
    "arrow.json": _Extension(),
    "arrow.bool8": _Extension(),
    "pandas.period": _Extension(),
}


def _extension(kind: pa.DataType) -> _Extension | None:
    return _EXTENSIONS.get(kind.extension_name) if isinstance(kind, pa.BaseExtensionType) else None


def working_type(kind: pa.DataType) -> pa.DataType:
    """Returns the plain type that codecs work on for a column of a type.

    Raises:
        UnsupportedData: The type is nested, or otherwise not one of single values.
    """
    extension = _extension(kind)
    if extension is not None:
        return extension.kind or working_type(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        if _cannot_be_put_together(kind.value_type):
            raise _unsupported(kind)
        return working_type(kind.value_type)
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_decimal(kind) and kind.bit_width < 128:
        return pa.decimal128(kind.precision, kind.scale)
    if str(kind) in ("string_view", "binary_view"):
        return pa.large_string() if str(kind) == "string_view" else pa.large_binary()
    if pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    try:
        type_to_json(kind)
    except TypeError:
        raise _unsupported(kind) from None
    return kind


def _cannot_be_put_together(kind: pa.DataType) -> bool:
    """Says whether Arrow has no way to make dictionaries, or runs, of values of a type."""
    small = pa.types.is_decimal(kind) and kind.bit_width < 128
    nested = pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind)
    return small or nested or str(kind).endswith("_view") or isinstance(kind, pa.BaseExtensionType)


def _unsupported(kind: pa.DataType) -> UnsupportedData:
    return UnsupportedData(
        f"type {kind} is not supported: columns must hold single values; leave the column out, or convert it "
        "to text or numbers"
    )


def holds_text(kind: pa.DataType) -> bool:
    """Says whether a column of a type can hold any text, such as what stands for a rare category."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return holds_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def plain(column: pa.ChunkedArray | pa.Array, kind: pa.DataType) -> pa.Array:
    """Returns a column as one array of a plain type."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    extension = _extension(array.type)
    if extension is not None:
        array = extension.write(array.storage)
    while pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_run_end_encoded(array.type):
        array = pc.run_end_decode(array)
    return array if array.type == kind else array.cast(kind)


def restored(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Returns an array of a working type, or of the type itself, as one of the column's own type."""
    if array.type == kind:
        return array
    extension = _extension(kind)
    if extension is not None:
        storage = restored(extension.read(array), kind.storage_type)
        return pa.ExtensionArray.from_storage(kind, storage)
    if pa.types.is_dictionary(kind):
        return restored(array, kind.value_type).dictionary_encode().cast(kind)
    if pa.types.is_run_end_encoded(kind):
        return pc.run_end_encode(restored(array, kind.value_type), kind.run_end_type)
    return array.cast(kind, safe=False)
