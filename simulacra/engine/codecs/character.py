"""Codes and other short texts with a format: the length, then a character per position."""

import string
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulacra.engine.codecs._json import Document
from simulacra.engine.codecs.base import Codec, FitOptions, ValueRange, validity
from simulacra.engine.codecs.protection import Protection

__all__ = ["CharacterCodec", "is_formatted"]

_MAX_LENGTH = 50
_LONGEST_CODE, _MOST_LENGTHS, _MOST_ODD = 36, 3, 0.01
_END = 0
_CLASSES = (
    string.digits,
    string.digits + "abcdef",
    string.digits + "ABCDEF",
    string.ascii_lowercase,
    string.ascii_uppercase,
    string.digits + string.ascii_uppercase,
    string.digits + string.ascii_letters,
)
"""What a position's characters are made of where none of them is shared by enough subjects."""


@dataclass(frozen=True)
class CharacterCodec(Codec):
    """Sub-columns: the length (after null), then a character per position; code 0 is beyond the end.

    Texts are cut after 50 characters. A length or a character at a position that fewer than k subjects have
    becomes the nearest kept length, or a kept character of that position.

    Attributes:
        kind: The column's type, text.
        nullable: Whether null has a code.
        lengths: The kept lengths, ascending.
        alphabets: The kept characters (code points) of each position, by falling frequency.
        classes: For each position of which no character is kept, the characters that decoding draws from; ""
            for the others.
    """

    encoding: ClassVar[str] = "TABULAR_CHARACTER"
    kind: pa.DataType
    nullable: bool
    lengths: tuple[int, ...]
    alphabets: tuple[tuple[int, ...], ...]
    classes: tuple[str, ...]

    @classmethod
    def fit(cls, column: pa.Array, options: FitOptions) -> Self:
        """Keeps the lengths and the characters that enough subjects have."""
        valid = validity(column)
        rule = options.protection.take(valid)
        points = _points(column.drop_null(), _MAX_LENGTH)
        if rule.hides_all(len(points)):
            return cls(column.type, True, (), (), ())
        lengths = (points != _END).sum(1)
        kept = np.flatnonzero(rule.count(lengths, points.shape[1] + 1) >= rule.threshold)
        if not len(kept):
            kept = np.array([int(np.median(lengths))])
        alphabets: list[tuple[int, ...]] = []
        classes: list[str] = []
        for place in range(int(kept.max(initial=0))):
            there = points[:, place] != _END
            alphabet = _alphabet(points[there, place], rule.take(there))
            classes.append("" if alphabet else _class(points[there, place]))
            alphabets.append(alphabet or (ord(classes[-1][0]),))
        return cls(column.type, column.null_count > 0, tuple(kept.tolist()), tuple(alphabets), tuple(classes))

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """The lengths, then each position's characters and the end."""
        if not self.lengths:
            return (1,)
        return (len(self.lengths) + int(self.nullable), *(len(alphabet) + 1 for alphabet in self.alphabets))

    def encode(self, column: pa.Array) -> np.ndarray:
        """Looks up lengths and characters: the nearest length, the likeliest character if not kept."""
        codes = np.zeros((len(column), len(self.cardinalities)), np.int32)
        if not self.lengths:
            return codes
        valid = validity(column)
        points = _points(column.fill_null("") if column.null_count else column, max(self.lengths))
        kept = np.array(self.lengths)
        length = (points != _END).sum(1)
        nearest = np.abs(length[:, None] - kept[None]).argmin(1)
        codes[:, 0] = nearest + int(self.nullable)
        for place, alphabet in enumerate(self.alphabets):
            order = np.argsort(alphabet)
            ascending = np.array(alphabet)[order]
            at = np.searchsorted(ascending, points[:, place]).clip(max=len(alphabet) - 1)
            found = np.where(ascending[at] == points[:, place], order[at], 0)
            codes[:, place + 1] = np.where(kept[nearest] > place, found + 1, _END)
        codes[~valid] = 0
        return codes

    def decode(self, codes: np.ndarray, rng: np.random.Generator) -> pa.Array:
        """Puts the characters together."""
        if not self.lengths:
            return pa.nulls(len(codes), self.kind)
        null = (codes[:, 0] == 0) if self.nullable else np.zeros(len(codes), bool)
        length = np.array(self.lengths)[(codes[:, 0] - int(self.nullable)).clip(min=0)]
        width = max(len(self.alphabets), 1)
        points = np.zeros((len(codes), width), np.uint32)
        for place, alphabet in enumerate(self.alphabets):
            if self.classes[place]:
                drawn = np.array([ord(letter) for letter in self.classes[place]], np.uint32)
                letters = drawn[rng.integers(0, len(drawn), len(codes))]
            else:
                letters = np.array(alphabet, np.uint32)[(codes[:, place + 1] - 1).clip(min=0)]
            points[:, place] = np.where(length > place, letters, _END)
        texts = np.ascontiguousarray(points).view(f"<U{width}")[:, 0]
        return pa.array(texts, pa.string(), mask=null).cast(self.kind)

    def unknown(self, column: pa.Array) -> np.ndarray:
        """Says which texts have a length or, at its place, a character that too few subjects have."""
        valid = validity(column)
        if not self.lengths:
            return valid
        points = _points(column.fill_null("") if column.null_count else column, _MAX_LENGTH)
        unknown = ~np.isin((points != _END).sum(1), self.lengths)
        for place in range(min(len(self.alphabets), points.shape[1])):
            known = [_END, *self.alphabets[place], *(ord(letter) for letter in self.classes[place])]
            unknown |= ~np.isin(points[:, place], known)
        return valid & unknown

    @property
    def ragged(self) -> bool:
        """Texts are of different lengths."""
        return True

    def value_range(self) -> ValueRange:
        """Returns no values: they are made up."""
        return ValueRange(has_null=self.nullable)

    def to_json(self) -> dict[str, Any]:
        """Returns lengths and alphabets."""
        return {
            "lengths": list(self.lengths),
            "alphabets": [list(alphabet) for alphabet in self.alphabets],
            "classes": list(self.classes),
        }

    @classmethod
    def from_json(cls, document: Document, kind: pa.DataType, nullable: bool) -> Self:
        """Reads a codec."""
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise document.fail("lengths", f"do not suit type {kind}")
        lengths = document.array("lengths", np.int64, (None,))
        alphabets = document.items("alphabets")
        for alphabet in alphabets:
            points = Document({"points": alphabet}, "alphabets").array("points", np.int64, (None,))
            surrogate = (points >= 0xD800) & (points < 0xE000)
            unique = len(np.unique(points)) == len(points)
            if (
                not len(points)
                or not unique
                or points.min() < 1
                or points.max() > 0x10FFFF
                or surrogate.any()
            ):
                raise document.fail("alphabets", "are not of characters")
        sound = (lengths[1:] > lengths[:-1]).all() and (not len(lengths) or lengths[0] >= 0)
        if not sound or len(alphabets) != lengths.max(initial=0) or len(alphabets) > _MAX_LENGTH:
            raise document.fail("lengths", "do not fit the alphabets")
        classes = tuple(document.texts("classes")) if "classes" in document else ("",) * len(alphabets)
        if len(classes) != len(alphabets) or not {*classes} <= {"", *_CLASSES}:
            raise document.fail("classes", "are not those of the alphabets")
        nullable = nullable or not len(lengths)
        return cls(kind, nullable, tuple(lengths.tolist()), tuple(tuple(a) for a in alphabets), classes)


def is_formatted(column: pa.Array, rare: float, rule: Protection) -> bool:
    """Says whether text is codes: nearly all values rare, short, without blanks, of about the same length.

    A hundredth of the values, or those of a few subjects, may be otherwise.

    Args:
        column: The values.
        rare: Share of the values that would be rare as categories.
        rule: Of the rows; what fewer than k subjects have says nothing else.
    """
    if rare < 0.9 or len(column) == column.null_count:
        return False
    rule, present = rule.take(validity(column)), column.drop_null()
    lengths = pc.utf8_length(present).to_numpy(zero_copy_only=False)
    blank = pc.match_substring_regex(present, r"\s").to_numpy(zero_copy_only=False)
    distinct, numbers = np.unique(lengths, return_inverse=True)
    kept = distinct[np.argsort(-rule.count(numbers, len(distinct)), kind="stable")[:_MOST_LENGTHS]]
    odd = blank | (lengths > _LONGEST_CODE) | ~np.isin(lengths, kept)
    return bool(odd.mean() <= _MOST_ODD) or rule.shared_by_few(np.flatnonzero(odd))


def _points(column: pa.Array, width: int) -> np.ndarray:
    """Returns texts as code points, `(rows, width)`, padded with 0; longer ones are cut."""
    if not len(column) or not width:
        return np.zeros((len(column), width), np.uint32)
    cut = pc.replace_substring(pc.utf8_slice_codeunits(column, 0, width), "\x00", " ")
    texts = cut.to_numpy(zero_copy_only=False).astype(f"<U{width}")
    return np.asarray(texts.view(np.uint32).reshape(len(column), width))


def _class(points: np.ndarray) -> str:
    """Returns the narrowest of a few sets of characters that has all of these."""
    found = {chr(point) for point in points}
    return next((letters for letters in _CLASSES if found <= {*letters}), _CLASSES[-1])


def _alphabet(points: np.ndarray, rule: Protection) -> tuple[int, ...]:
    letters, codes = np.unique(points, return_inverse=True)
    counts = rule.count(codes, len(letters))
    order = np.argsort(-counts, kind="stable")
    return tuple(letters[order[counts[order] >= rule.threshold]].tolist())
