"""Strict readers for codec documents: a bundle is untrusted, so every field is checked before it is used."""

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from simulacra.errors import CorruptBundle

__all__ = ["Document", "type_from_json", "type_to_json", "values_from_json", "values_to_json"]

_MAX_ITEMS = 5_000_000
_UNITS = ("s", "ms", "us", "ns")
_PLAIN_TYPES = {
    str(plain): plain
    for plain in (
        pa.null(), pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(),
        pa.uint32(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.string(), pa.large_string(),
        pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view(), pa.date32(), pa.date64(),
        pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns"),
        *(pa.duration(unit) for unit in _UNITS), *(pa.timestamp(unit) for unit in _UNITS),
    )
}  # fmt: skip


_EXTENSIONS: dict[str, Callable[[pa.DataType], pa.DataType]] = {
    "arrow.uuid": lambda _storage: pa.uuid(),
    "arrow.json": pa.json_,
    "arrow.bool8": lambda _storage: pa.bool8(),
    "pandas.period": lambda storage: storage,
}


class Document:
    """A JSON object whose fields are read with their type and range checked.

    Every reader raises `CorruptBundle` with the field's path when the value is missing or not what it must
    be.
    """

    def __init__(self, value: object, path: str = "") -> None:
        if not isinstance(value, Mapping):
            raise CorruptBundle(f"{path or 'document'}: expected an object, found {type(value).__name__}")
        self._value: Mapping[str, Any] = value
        self._path = path

    def fail(self, key: str, problem: str) -> CorruptBundle:
        """Makes the error for one field."""
        return CorruptBundle(f"{self._path}.{key}: {problem}".lstrip("."))

    def __contains__(self, key: str) -> bool:
        return self._value.get(key) is not None

    def raw(self, key: str) -> Any:
        """Returns a field as it is; absent is an error."""
        if key not in self._value:
            raise self.fail(key, "is missing")
        return self._value[key]

    def text(self, key: str, choices: Sequence[str] | None = None) -> str:
        """Reads a string, one of `choices` if they are given."""
        value = self.raw(key)
        if not isinstance(value, str) or (choices is not None and value not in choices):
            raise self.fail(key, f"unexpected value {value!r}"[:200])
        return value

    def flag(self, key: str) -> bool:
        """Reads a boolean."""
        value = self.raw(key)
        if not isinstance(value, bool):
            raise self.fail(key, "expected true or false")
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        """Reads an integer in [low, high]."""
        value = self.raw(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.fail(key, f"expected an integer in [{low}, {high}]")
        return value

    def number(self, key: str, low: float = -math.inf, high: float = math.inf) -> float:
        """Reads a finite number in [low, high]."""
        value = self.raw(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.fail(key, "expected a number")
        if not math.isfinite(value) or not low <= value <= high:
            raise self.fail(key, f"expected a finite number in [{low}, {high}]")
        return float(value)

    def items(self, key: str) -> list[Any]:
        """Reads a list."""
        value = self.raw(key)
        if not isinstance(value, list) or len(value) > _MAX_ITEMS:
            raise self.fail(key, "expected a list")
        return value

    def texts(self, key: str) -> list[str]:
        """Reads a list of strings."""
        values = self.items(key)
        if not all(isinstance(value, str) for value in values):
            raise self.fail(key, "expected a list of strings")
        return values

    def child(self, key: str) -> "Document":
        """Reads an object."""
        return Document(self.raw(key), f"{self._path}.{key}".lstrip("."))

    def children(self, key: str) -> list["Document"]:
        """Reads a list of objects."""
        return [
            Document(item, f"{self._path}.{key}[{i}]".lstrip(".")) for i, item in enumerate(self.items(key))
        ]

    def array(self, key: str, dtype: type, shape: tuple[int | None, ...]) -> np.ndarray:
        """Reads a numeric array of finite values; None in `shape` is any length."""
        values = self.items(key)
        kinds = (int,) if np.issubdtype(dtype, np.integer) else (int, float)
        flat: list[Any] = values
        for _ in shape[1:]:
            if not all(isinstance(row, list) for row in flat):
                raise self.fail(key, "expected nested lists")
            flat = [item for row in flat for item in row]
        if not all(isinstance(item, kinds) and not isinstance(item, bool) for item in flat):
            raise self.fail(key, "expected a list of numbers")
        try:
            array: np.ndarray = (
                np.array(values, dtype=dtype) if values else np.empty([n or 0 for n in shape], dtype)
            )
        except (ValueError, OverflowError, TypeError) as error:
            raise self.fail(key, "numbers out of range or of unequal lengths") from error
        fits = array.ndim == len(shape) and all(
            n is None or n == m for n, m in zip(shape, array.shape, strict=True)
        )
        if (array.size and not fits) or not np.isfinite(array).all():
            raise self.fail(key, f"expected finite numbers of shape {shape}")
        return array


def type_to_json(kind: pa.DataType) -> Any:
    """Returns the document of an Arrow type: its name, or an object for types with parameters."""
    if pa.types.is_timestamp(kind) and kind.tz:
        return {"timestamp": kind.unit, "tz": kind.tz}
    if pa.types.is_decimal(kind):
        return {"decimal": kind.bit_width, "precision": kind.precision, "scale": kind.scale}
    if pa.types.is_dictionary(kind):
        return {
            "dictionary": type_to_json(kind.index_type),
            "values": type_to_json(kind.value_type),
            "ordered": kind.ordered,
        }
    if pa.types.is_fixed_size_binary(kind):
        return {"bytes": kind.byte_width}
    if pa.types.is_run_end_encoded(kind):
        return {"run_ends": type_to_json(kind.run_end_type), "values": type_to_json(kind.value_type)}
    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name in _EXTENSIONS:
        frequency = getattr(kind, "freq", None)
        document = {"extension": kind.extension_name, "storage": type_to_json(kind.storage_type)}
        return document | ({"frequency": str(frequency)} if frequency is not None else {})
    if str(kind) not in _PLAIN_TYPES:
        raise TypeError(f"type {kind} has no document")
    return str(kind)


_DECIMALS = {32: pa.decimal32, 64: pa.decimal64, 128: pa.decimal128, 256: pa.decimal256}


def type_from_json(value: Any, path: str = "type") -> pa.DataType:
    """Returns the Arrow type of a document.

    Raises:
        CorruptBundle: The document describes no type that the engine makes.
    """
    if isinstance(value, str):
        if value not in _PLAIN_TYPES:
            raise CorruptBundle(f"{path}: unknown type {value!r}"[:200])
        return _PLAIN_TYPES[value]
    document = Document(value, path)
    try:
        if "timestamp" in document:
            return pa.timestamp(document.text("timestamp", _UNITS), document.text("tz")[:64])
        if "decimal" in document:
            width, precision = document.integer("decimal", 32, 256), document.integer("precision", 1, 76)
            return _DECIMALS[width](precision, document.integer("scale", -76, 76))
        if "bytes" in document:
            return pa.binary(document.integer("bytes", 0, 1 << 20))
        if "extension" in document:
            return _extension_type(document)
        outer = "run_ends" if "run_ends" in document else "dictionary"
        values = document.raw("values")
        if isinstance(values, Mapping) and not {"run_ends", "dictionary", "extension"}.isdisjoint(values):
            raise document.fail("values", "are not single ones")
        index, inner = type_from_json(document.text(outer)), type_from_json(values)
        if outer == "run_ends":
            return pa.run_end_encoded(index, inner)
        return pa.dictionary(index, inner, document.flag("ordered"))
    except (KeyError, TypeError, ValueError, ImportError, pa.ArrowException) as error:
        raise CorruptBundle(f"{path}: not a type: {error}") from error


def _extension_type(document: Document) -> pa.DataType:
    """Returns one of the extension types whose values are single ones."""
    name = document.text("extension", tuple(_EXTENSIONS))
    if name == "pandas.period":
        extension_types = importlib.import_module("pandas.core.arrays.arrow.extension_types")
        frequency = document.text("frequency")[:32]
        importlib.import_module("pandas").PeriodDtype(frequency)  # raises ValueError for what is none
        return extension_types.ArrowPeriodType(frequency)
    kind = _EXTENSIONS[name](type_from_json(document.raw("storage")))
    if type_to_json(kind.storage_type) != document.raw("storage"):
        raise document.fail("storage", f"does not suit {name}")
    return kind


def values_to_json(array: pa.Array) -> list[str]:
    """Returns non-null values as strings that `values_from_json` reads back exactly."""
    kind = array.type
    if pa.types.is_null(kind):
        return []
    if pa.types.is_temporal(kind):
        array = array.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return [value.hex() for value in array.to_pylist()]
    if pa.types.is_floating(kind):
        return [repr(value) for value in array.cast(pa.float64()).to_pylist()]
    return [str(value) for value in array.to_pylist()]


def values_from_json(values: list[str], kind: pa.DataType, path: str) -> pa.Array:
    """Returns the Arrow array of values written by `values_to_json`.

    Raises:
        CorruptBundle: A value is not one of the type.
    """
    try:
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return pa.array([bytes.fromhex(value) for value in values], kind)
        if pa.types.is_null(kind) and not values:
            return pa.nulls(0)
        texts = pa.array(values, pa.string())
        if pa.types.is_temporal(kind):
            return texts.cast(pa.int32() if kind.bit_width == 32 else pa.int64()).cast(kind)
        if pa.types.is_floating(kind):
            return pa.array([float(value) for value in values], pa.float64()).cast(kind)
        return texts.cast(kind)
    except (ValueError, pa.ArrowException) as error:
        raise CorruptBundle(f"{path}: values are not of type {kind}") from error
