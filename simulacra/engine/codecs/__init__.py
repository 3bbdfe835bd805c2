"""The encodings: each maps a column's values to small integer codes and back."""

from simulacra.engine.codecs.base import RARE, Codec, FitOptions, ValueRange
from simulacra.engine.codecs.categorical import CategoricalCodec
from simulacra.engine.codecs.character import CharacterCodec
from simulacra.engine.codecs.datetime import DatetimeCodec
from simulacra.engine.codecs.digits import DigitCodec
from simulacra.engine.codecs.latlong import LatLongCodec
from simulacra.engine.codecs.numeric import BinnedCodec, DiscreteCodec
from simulacra.engine.codecs.protection import Protection
from simulacra.engine.codecs.registry import codec_from_json, codec_to_json, fit_codec

__all__ = [
    "RARE",
    "BinnedCodec",
    "CategoricalCodec",
    "CharacterCodec",
    "Codec",
    "DatetimeCodec",
    "DigitCodec",
    "DiscreteCodec",
    "FitOptions",
    "LatLongCodec",
    "Protection",
    "ValueRange",
    "codec_from_json",
    "codec_to_json",
    "fit_codec",
]
