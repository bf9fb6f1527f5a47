"""Random inputs for a signature: batch sizes, lengths, token ids, strings, floats, masks, padding, from a seed."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tfseq.exporting.signatures.vocabularies import Vocabulary
from tfseq.runtime.manifest import TensorSpec

VocabularySizes = int | Mapping[str, int] | None  # as in `Signature`

BATCHES = (1, 3, 8)
LENGTHS = (1, 17, 64)


def free_axes(inputs: Sequence[TensorSpec]) -> list[str]:
    """Names of the axes that a signature leaves free."""
    return list(dict.fromkeys(size for spec in inputs for size in spec.shape if isinstance(size, str)))


def usual_lengths(axes: Sequence[str]) -> list[dict[str, int]]:
    """LENGTHS, the same for each free axis but the batch."""
    lengths = [axis for axis in axes if axis != "batch"]
    return [dict.fromkeys(lengths, length) for length in (LENGTHS if lengths else (1,))]


def grid(axes: Sequence[str], lengths: Sequence[Mapping[str, int]]) -> list[tuple[int, dict[str, int]]]:
    """Every batch size with every length: a seed and the sizes of the free axes, by name."""
    batches = BATCHES if "batch" in axes or not axes else (1,)  # of fixed sizes as many, which differ in their seeds
    return [
        (seed, {axis: batch if axis == "batch" else length[axis] for axis in axes})
        for seed, (batch, length) in enumerate(itertools.product(batches, lengths))
    ]


def sweep(inputs: Sequence[TensorSpec], vocabulary_sizes: VocabularySizes) -> Iterator[dict[str, np.ndarray]]:
    """Random inputs of every batch size with every length, as far as the signature leaves them free."""
    axes = free_axes(inputs)
    for seed, sizes in grid(axes, usual_lengths(axes)):
        yield draw(inputs, vocabulary_sizes, sizes.get("batch", 1), sizes, seed)


def draw(
    inputs: Sequence[TensorSpec],
    vocabulary_sizes: VocabularySizes,
    batch: int,
    length: int | Mapping[str, int],
    seed: int = 0,
    vocabularies: Mapping[str, Vocabulary] | None = None,
) -> dict[str, np.ndarray]:
    """Random arrays by input name: token ids, normal floats, masks; padded on the right, with holes or not at all.

    Args:
        vocabulary_sizes: token ids stay below: one for all integer inputs, or by name. An input that is not among
            them gets small integers, below 2 with every other seed; one of bytes gets pixels with the others.
        length: of the free axes other than "batch": one for all, or by name.
        seed: neighbouring ones differ in how they pad, and in whether inputs are looked up that no table knows.
        vocabularies: by name of what inputs are looked up in, see `Signature`.
    """
    random = np.random.default_rng(seed)
    kept = _PADDINGS[(seed + seed // len(_PADDINGS)) % len(_PADDINGS)]

    def sizes(axis: str) -> int:
        if axis == "batch":
            return batch
        return length[axis] if isinstance(length, Mapping) else length

    def array(spec: TensorSpec) -> np.ndarray:
        shape = [sizes(size) if isinstance(size, str) else size for size in spec.shape]
        vocabulary = (vocabularies or {}).get(spec.name)
        if vocabulary is not None or spec.dtype == "string":
            return _looked_up(random, spec, shape, vocabulary, seed)
        dtype = np.dtype(spec.dtype)
        if dtype.kind == "b":
            return kept(random, shape)
        if dtype.kind in "iu":
            known = vocabulary_sizes.get(spec.name) if isinstance(vocabulary_sizes, Mapping) else vocabulary_sizes
            values = random.integers(0, known or _limit(spec, seed), shape)
            return (values * kept(random, shape) if known and len(shape) > 1 else values).astype(dtype)
        values = random.normal(size=shape).astype(dtype)
        padded = len(shape) == 3 and isinstance(spec.shape[1], str) and kept is _right_padded
        return values * kept(random, shape[:2])[..., None] if padded else values

    return {spec.name: array(spec) for spec in inputs}


def _looked_up(random, spec, shape, vocabulary, seed):
    """Keys of a vocabulary, and, with even seeds, others among them where the model takes others."""
    strings = spec.dtype == "string"
    others = np.array(_STRINGS, object) if strings else random.integers(-9, 1000, 9)
    if vocabulary is None:
        return np.asarray(random.choice(others, shape))
    if vocabulary.of_texts:
        return _texts(random, shape, vocabulary.keys)
    values = np.asarray(random.choice(vocabulary.keys, shape))
    if seed % 2 == 0 and not vocabulary.closed:
        values = np.where(random.random(shape) < _UNKNOWN, random.choice(others, shape), values)
    return values if strings else values.astype(spec.dtype)


def _texts(random, shape, words):
    """Texts of words of a vocabulary and others, with punctuation and capitals; the first one is never empty."""
    pieces = [*_STRINGS, *_PIECES, *(word for word in random.choice(words, 64) for _ in range(4))]

    def text(i: int) -> str:
        chosen = random.choice(np.array(pieces, object), random.integers(0, 3 if i % 3 == 2 else 14))
        joined = "".join(piece + random.choice(_SEPARATORS) for piece in chosen)
        return joined.title() if random.random() < 0.2 else joined

    texts = [text(i) for i in range(math.prod(shape))]
    texts[:1] = [f"a {first}" for first in texts[:1]]
    return np.array(texts, object).reshape(shape)


_PIECES = ("!", "...", "it's", "X-ray", "ÉCOLE", "e\u0301", "\u00a0", "12,5")
_SEPARATORS = (" ", " ", " ", "", ", ", ".", "\n", "\t ", "  ")
_UNKNOWN = 0.3  # of the values that are looked up
_STRINGS = ("", " ", "a", "B", "7", "word", "two words", "[UNK]", "dash-ed.", "Größe", "東京", "🙂")


def _limit(spec: TensorSpec, seed: int) -> int:
    """What integers stay below where no vocabulary size is known."""
    if seed % 2 == 0 or "mask" in spec.name:
        return 2
    return 256 if spec.dtype == "uint8" else 10


def _right_padded(random, shape):
    """True up to a random length, at least 1, along the last axis."""
    if not shape:
        return np.asarray(True)
    return np.arange(shape[-1]) < random.integers(1, shape[-1] + 1, (*shape[:-1], 1))


def _all(random, shape):
    return np.ones(shape, bool)


def _with_holes(random, shape):
    return random.random(shape) < 0.7


_PADDINGS = (_all, _right_padded, _with_holes)
