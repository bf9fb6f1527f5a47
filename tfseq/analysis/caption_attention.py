"""Attention of an exported captioner over the image: the weights of each word, and their overlay on the image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfseq.analysis.attention_maps import words_of
from tfseq.errors import InputError
from tfseq.runtime import Model
from tfseq.runtime.atomic_write import atomic_write

_HEAT = 0.65  # opacity of the overlay


@dataclass(frozen=True, eq=False)
class WordAttention:
    """Attention of a caption over its image, word by word.

    Attributes:
        words: of the caption.
        weights: of each word over the grid of image positions, (words, rows, columns); each sums to 1.
    """

    words: tuple[str, ...]
    weights: np.ndarray


def word_attention(file: Model, pictures: np.ndarray, max_length: int | None = None) -> list[WordAttention]:
    """Captions images, and returns the attention weights of each word.

    The weights of a word of several tokens (subwords or characters) are the mean of theirs.

    Args:
        file: of a captioner, exported with attention=True, whose image positions are a square grid.
        pictures: (pictures, height, width, channels) uint8.
        max_length: maximum number of new tokens.

    Raises:
        InputError: the file has no attention output, or its image positions are no square grid.
    """
    attention = []
    for result in file.generate(pictures, max_length, details=True):
        if result.attention is None or file.tokenizer is None:
            raise InputError(f"{file.path.name} has no attention output; export the model with attention=True.")
        words = words_of(file.tokenizer, result.tokens)
        places = result.attention.shape[1]
        side = round(places**0.5)
        if side * side != places:
            raise InputError(f"{file.path.name} attends to {places} image positions; expected a square grid of them.")
        weights = [result.attention[rows].mean(0) for _, rows in words]
        maps = np.reshape(weights, (len(words), side, side))
        attention.append(WordAttention(tuple(word for word, _ in words), maps))
    return attention


def upsampled(weights: np.ndarray, height: int, width: int) -> np.ndarray:
    """Weights over a grid, upsampled to the size of the image (bilinear, between the centers of the grid's cells).

    Args:
        weights: (rows, columns).
        height, width: of the image, pixels.

    Returns:
        (height, width).
    """
    return _blend(_blend(weights, height).T, width).T


def plot_word_attention(pictures: np.ndarray, attention: Sequence[WordAttention], path: Path, title: str = "") -> None:
    """Writes a PNG: a row per image, first the image, then for each word the image overlaid with its attention.

    Args:
        pictures: (pictures, height, width, channels) uint8; 1 channel or 3.
        attention: of each, as `word_attention` returns it.
        path: of the PNG file.
        title: of the figure.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    glow = colormaps["inferno"]
    rows, columns = len(attention), 1 + max(len(of_image.words) for of_image in attention)
    figure = Figure(figsize=(1.05 * columns, 1.3 * rows + 0.3 * bool(title)), layout="constrained")
    if title:
        figure.suptitle(title, fontsize=10)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for row, picture, of_image in zip(grid, pictures, attention):
        color = np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture
        row[0].imshow(color)
        for axes, word, weights in zip(row[1:], of_image.words, of_image.weights):
            heat = glow(upsampled(weights / max(weights.max(), 1e-9), *color.shape[:2]))[..., :3]
            axes.imshow((1 - _HEAT) * color / 255 + _HEAT * heat)
            axes.set_title(word, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")


def _blend(weights: np.ndarray, size: int) -> np.ndarray:
    """(rows, columns) -> (size, columns)."""
    at = (np.arange(size) + 0.5) * len(weights) / size - 0.5  # pixel -> grid position, both by their centers
    return np.stack([np.interp(at, np.arange(len(weights)), column) for column in weights.T], axis=1)
