"""Pictures with captions as batches that a captioner learns from."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from pipelines.parts.image_batches import Distortion
from tfseq.data import Part, distorted, shuffled_batches
from tfseq.runtime import SubwordTokenizer

Examples = tuple[np.ndarray, np.ndarray]  # which picture, (captions,), and its tokens, (captions, 2 + time)


def encoded(targets: Sequence[Sequence[str]], tokenizer: SubwordTokenizer) -> Examples:
    """Every caption as start, words and end, padded with 0, and the picture that it belongs to."""
    rows = [(i, tokenizer.encode(caption)) for i, captions in enumerate(targets) for caption in captions]
    tokens = np.zeros((len(rows), 2 + max(len(ids) for _, ids in rows)), "int32")
    for row, (_, ids) in zip(tokens, rows):
        row[: 2 + len(ids)] = [tokenizer.start, *ids, tokenizer.end]
    return np.array([i for i, _ in rows], "int32"), tokens


def shown(part: Part, examples: Examples, batch: int, seed: int | None) -> Callable[[Any], Any]:
    """From an epoch to batches of pictures, each beside one of its captions."""
    rows = shuffled_batches(*examples, batch, seed=seed)
    pictures = ops.convert_to_tensor(part.inputs)
    return lambda epoch: rows(epoch).map(lambda i, tokens: (ops.take(pictures, i, axis=0), tokens))


def moved(batches: Callable, pictures: np.ndarray, distortion: Distortion, seed: int) -> Callable[[Any], Any]:
    """The batches with each picture distorted; what comes from beyond its border is as light or dark as borders are."""
    border = np.concatenate([pictures[:100, 0].ravel(), pictures[:100, -1].ravel()])
    if border.mean() < 128:  # near black, which is what `distorted` fills with
        return distorted(batches, **vars(distortion), seed=seed)

    def inverted(batches: Callable) -> Callable:
        return lambda epoch: batches(epoch).map(lambda pictures, tokens: (255 - pictures, tokens))

    return inverted(distorted(inverted(batches), **vars(distortion), seed=seed))


def taught(batches: Callable) -> Callable[[Any], Any]:
    """Batches as a captioner learns from them: `({"image", "target"}, tokens, weights)`, weights 0 at padding."""

    def teach(pictures, tokens):
        longest = ops.max(ops.sum(ops.cast(tokens != 0, "int32"), axis=1))
        tokens = tokens[:, :longest]
        inputs, targets = {"image": pictures, "target": tokens[:, :-1]}, tokens[:, 1:]
        return inputs, targets, ops.cast(targets != 0, "float32")

    return lambda epoch: batches(epoch).map(teach)
