"""Inputs to try a model on: sizes and values drawn from its signature."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from tfseq.runtime.manifest import TensorSpec

BATCHES = (1, 3, 8)
LENGTHS = (1, 17, 64)


def sweep(inputs: Sequence[TensorSpec], vocabulary_size: int | None) -> Iterator[dict[str, np.ndarray]]:
    """Every batch size with every length, or one case for a signature that leaves nothing free."""
    names = dict.fromkeys(size for spec in inputs for size in spec.shape if isinstance(size, str))
    batches = BATCHES if "batch" in names else (1,)
    lengths = LENGTHS if names.keys() - {"batch"} else (1,)
    for seed, (batch, length) in enumerate(itertools.product(batches, lengths)):
        yield draw(inputs, vocabulary_size, batch, length, seed)


def draw(
    inputs: Sequence[TensorSpec], vocabulary_size: int | None, batch: int, length: int, seed: int = 0
) -> dict[str, np.ndarray]:
    """Random arrays by input name: symbols of the vocabulary, normal floats, fair booleans.

    Free axes other than "batch" all get `length`.
    """
    random = np.random.default_rng(seed)

    def array(spec: TensorSpec) -> np.ndarray:
        shape = [{"batch": batch}.get(size, length) if isinstance(size, str) else size for size in spec.shape]
        dtype = np.dtype(spec.dtype)
        if dtype.kind in "iu":
            return random.integers(0, vocabulary_size or 2, shape).astype(dtype)
        if dtype.kind == "b":
            return random.random(shape) < 0.5
        return random.normal(size=shape).astype(dtype)

    return {spec.name: array(spec) for spec in inputs}


def ragged_prompts(vocabulary_size: int, batch: int, longest: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Prompts of random lengths, padded on the right with symbols that must not matter: (batch, time), (batch,)."""
    random = np.random.default_rng(seed)
    prompt = random.integers(0, vocabulary_size, (batch, longest)).astype("int32")
    return prompt, random.integers(1, longest + 1, batch).astype("int32")
