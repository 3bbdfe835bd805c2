"""Which codec serves which encoding, and what AUTO chooses."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from simulacra.engine.codecs._json import Document, type_from_json, type_to_json
from simulacra.engine.codecs.base import Codec, FitOptions, validity
from simulacra.engine.codecs.categorical import CategoricalCodec
from simulacra.engine.codecs.character import CharacterCodec, is_formatted
from simulacra.engine.codecs.datetime import DatetimeCodec
from simulacra.engine.codecs.digits import DigitCodec
from simulacra.engine.codecs.iso import is_iso_text
from simulacra.engine.codecs.latlong import LatLongCodec, is_lat_long
from simulacra.engine.codecs.numeric import BinnedCodec, DiscreteCodec, fit_numeric
from simulacra.errors import InvalidArgument

__all__ = ["codec_from_json", "codec_to_json", "fit_codec", "suitable"]

_CODECS: dict[str, type[Codec]] = {
    codec.encoding: codec
    for codec in (
        CategoricalCodec,
        DiscreteCodec,
        BinnedCodec,
        DigitCodec,
        CharacterCodec,
        DatetimeCodec,
        LatLongCodec,
    )
}
_FITTERS: dict[str, Callable[[pa.Array, FitOptions], Codec]] = {
    **{encoding: codec.fit for encoding, codec in _CODECS.items()},
    "TABULAR_NUMERIC_AUTO": fit_numeric,
    "TABULAR_DATETIME_RELATIVE": DatetimeCodec.fit,  # a flat table has no earlier row to be relative to
}


def fit_codec(column: pa.Array, encoding: str, options: FitOptions) -> Codec:
    """Fits the codec of an encoding to a column of a working type.

    Raises:
        InvalidArgument: The encoding is unknown, or does not suit the column's type.
        UnsupportedData: The column's values do not suit the encoding.
    """
    kind = column.type
    if encoding == "AUTO":
        return _fit_automatic(column, options)
    encoding = encoding if encoding.startswith(("TABULAR_", "LANGUAGE_")) else f"TABULAR_{encoding}"
    if encoding not in _FITTERS:
        raise InvalidArgument.of("model_encoding_type", f"{encoding} is not available for tabular models")
    if pa.types.is_null(kind) or (pa.types.is_boolean(kind) and encoding.startswith("TABULAR_NUMERIC")):
        encoding = CategoricalCodec.encoding
    possible = suitable(kind)
    if encoding not in possible:
        raise InvalidArgument.of(
            "model_encoding_type",
            f"{encoding} does not suit a column of type {kind}; use one of AUTO, {', '.join(possible)}",
        )
    return _FITTERS[encoding](column, options)


def suitable(kind: pa.DataType) -> list[str]:
    """Returns the encodings, besides AUTO, that a column of a working type can have."""
    text, number = _is_text(kind), _is_numeric(kind) or pa.types.is_boolean(kind)
    date = pa.types.is_date(kind) or pa.types.is_timestamp(kind)
    suits = {
        "TABULAR_N": number or text,
        "TABULAR_D": date or text,
        "TABULAR_L": text,
        "TABULAR_C": text,
    }
    anything = pa.types.is_null(kind)
    return [
        encoding
        for encoding in _FITTERS
        if anything or encoding == CategoricalCodec.encoding or suits[encoding[:9]]
    ]


def _fit_automatic(column: pa.Array, options: FitOptions) -> Codec:
    """Fits AUTO: by type, and for text by what the values look like."""
    kind = column.type
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return DatetimeCodec.fit(column, options)
    if _is_numeric(kind):
        return fit_numeric(column, options)
    codec = CategoricalCodec.fit(column, options)
    if not _is_text(kind) or options.protection.take(validity(column)).hides_all(
        len(column) - column.null_count
    ):
        return codec
    if is_iso_text(column):
        return DatetimeCodec.fit(column, options)
    if is_lat_long(column):
        return LatLongCodec.fit(column, options)
    rare = (
        float(np.mean(codec.encode(column.drop_null())[:, 0] == int(codec.nullable))) if codec.rare else 0.0
    )
    if is_formatted(column, rare, options.protection):
        return CharacterCodec.fit(column, options)
    return codec


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_numeric(kind: pa.DataType) -> bool:
    plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    return bool(plain or pa.types.is_temporal(kind))  # times of day and durations


def codec_to_json(codec: Codec) -> dict[str, Any]:
    """Returns a codec's whole document."""
    head = {"encoding": codec.encoding, "type": type_to_json(codec.kind), "nullable": codec.nullable}
    return {**head, **codec.to_json()}


def codec_from_json(document: Document) -> Codec:
    """Reads a codec; raises `CorruptBundle` for a document that is not one."""
    encoding = document.text("encoding", tuple(_CODECS))
    kind = type_from_json(document.raw("type"))
    return _CODECS[encoding].from_json(document, kind, document.flag("nullable"))
