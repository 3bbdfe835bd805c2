"""A trained model as files: safetensors and JSON. Loading checks everything and executes nothing."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from simulacra.engine.codecs._json import Document
from simulacra.engine.network import Network, NetworkConfig
from simulacra.engine.table import TableCodec
from simulacra.errors import CorruptBundle

__all__ = ["FORMAT_VERSION", "Bundle"]

FORMAT_VERSION = 3
_WEIGHTS, _MODEL = "weights.safetensors", "model.json"
_MAX_JSON_BYTES = 512 << 20
_MAX_WEIGHTS = 2_000_000_000
_MAX_WEIGHTS_BYTES = 4 * _MAX_WEIGHTS + (1 << 20)


@dataclass(frozen=True)
class Bundle:
    """All that sampling needs, and what training can go on from.

    Attributes:
        codec: The table's codecs.
        config: The network's shape.
        weights: The network's parameters by name, float32.
        facts: What is worth knowing about the training: rows, epochs, losses, seed, versions. Plain JSON.
    """

    codec: TableCodec
    config: NetworkConfig
    weights: Mapping[str, Tensor]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def network(self) -> Network:
        """Returns the network with these weights."""
        network = Network(self.config)
        network.load_state_dict(dict(self.weights))
        return network

    def to_files(self) -> dict[str, bytes]:
        """Returns the bundle as file names and their contents."""
        document = {
            "format": "simulacra.engine.bundle",
            "format_version": FORMAT_VERSION,
            "network": asdict(self.config),
            "codec": self.codec.to_json(),
            "facts": dict(self.facts),
        }
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.weights.items()}
        return {_WEIGHTS: safetensors.torch.save(tensors), _MODEL: text.encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> "Bundle":
        """Reads a bundle.

        Raises:
            CorruptBundle: The files are missing, damaged, of another version, or do not fit each other.
        """
        for name in (_WEIGHTS, _MODEL):
            if name not in files:
                raise CorruptBundle(f"the bundle has no {name}")
        document = _parse(files[_MODEL])
        version = document.raw("format_version")
        if version != FORMAT_VERSION:
            raise CorruptBundle(
                f"the bundle has format version {version!r}; this version reads {FORMAT_VERSION}"[:200]
            )
        codec = TableCodec.from_json(document.raw("codec"))
        config = _read_config(document.child("network"), codec)
        facts = document.raw("facts")
        if not isinstance(facts, dict):
            raise document.fail("facts", "expected an object")
        return cls(codec, config, _read_weights(files[_WEIGHTS], config), facts)

    def save(self, folder: Path | str) -> None:
        """Writes the bundle's files into a folder, which is made if need be."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in self.to_files().items():
            (folder / name).write_bytes(data)

    @classmethod
    def load(cls, folder: Path | str) -> "Bundle":
        """Reads the bundle in a folder; raises `CorruptBundle` as `from_files` does."""
        files = {}
        for name, most in ((_WEIGHTS, _MAX_WEIGHTS_BYTES), (_MODEL, _MAX_JSON_BYTES)):
            path = Path(folder) / name
            try:
                if path.stat().st_size > most:
                    raise CorruptBundle(f"{name} is larger than {most} bytes")
                files[name] = path.read_bytes()
            except FileNotFoundError:
                raise CorruptBundle(f"{folder} has no {name}") from None
        return cls.from_files(files)


def _parse(data: bytes) -> Document:
    if len(data) > _MAX_JSON_BYTES:
        raise CorruptBundle(f"{_MODEL} is larger than {_MAX_JSON_BYTES} bytes")
    try:
        return Document(json.loads(data, parse_constant=_no_number, object_pairs_hook=_once))
    except (ValueError, RecursionError) as error:
        raise CorruptBundle(f"{_MODEL} is not JSON: {error}") from error


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns an object; a key that comes twice could mean one thing here and another to who checked it."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a key twice")
    return found


def _read_config(document: Document, codec: TableCodec) -> NetworkConfig:
    cardinalities, columns = (
        tuple(document.array(key, int, (None,)).tolist()) for key in ("cardinalities", "columns")
    )
    parts = codec.sub_columns
    if cardinalities != tuple(p.cardinality for p in parts) or columns != tuple(p.column for p in parts):
        raise CorruptBundle("the network's sub-columns are not those of the codecs")
    sources = (
        document.array("sources", int, (None, None)) if document.items("sources") else np.empty((0, 0), int)
    )
    if not cardinalities:
        raise document.fail("cardinalities", "there is no sub-column")
    if len(sources) and (
        len(sources) != len(cardinalities)
        or not sources.size
        or sources.min() < 0
        or sources.max() >= len(cardinalities)
    ):
        raise document.fail("sources", "do not fit the sub-columns")
    embedding = document.integer("embedding", 1, 1024)
    widths = document.array("widths", int, (None,))
    if len(widths) not in (0, len(cardinalities)) or not ((widths >= 1) & (widths <= embedding)).all():
        raise document.fail("widths", "do not fit the sub-columns")
    config = NetworkConfig(
        cardinalities=cardinalities,
        columns=columns,
        sources=tuple(tuple(row) for row in sources.tolist()),
        shared=document.integer("shared", 0, 8192),
        levels=document.integer("levels", 1, 1024),
        embedding=embedding,
        widths=tuple(widths.tolist()),
        hidden=document.integer("hidden", 1, 8192),
        dropout=document.number("dropout", 0.0, 0.95),
    )
    if sum(math.prod(shape) for shape in config.shapes().values()) > _MAX_WEIGHTS:
        raise CorruptBundle("the network is larger than this version makes")
    return config


def _read_weights(data: bytes, config: NetworkConfig) -> dict[str, Tensor]:
    if len(data) > _MAX_WEIGHTS_BYTES:
        raise CorruptBundle(f"{_WEIGHTS} is larger than {_MAX_WEIGHTS_BYTES} bytes")
    try:
        weights: dict[str, Tensor] = safetensors.torch.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise CorruptBundle(f"{_WEIGHTS} cannot be read: {error}") from error
    shapes = config.shapes()
    if set(weights) != set(shapes):
        raise CorruptBundle(f"{_WEIGHTS} has not the tensors of the network")
    for name, tensor in weights.items():
        if (
            tensor.dtype != torch.float32
            or tuple(tensor.shape) != shapes[name]
            or not tensor.isfinite().all()
        ):
            raise CorruptBundle(f"{_WEIGHTS}: {name} is not {shapes[name]} of finite float32")
    return weights
