"""Where in a picture a captioner looked for each word: the attention that an exported file gives out, laid over it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfseq.analysis.attention_maps import words_of
from tfseq.errors import InputError
from tfseq.runtime import Model
from tfseq.runtime.atomic_write import atomic_write

_HEAT = 0.65  # share of the colour that says how much a place was looked at; the rest is the picture's


@dataclass(frozen=True, eq=False)
class Looks:
    """Where a picture was looked at, word by word.

    Attributes:
        words: of the caption.
        weights: of each word over the grid of places, (words, rows, columns); each sums to 1.
    """

    words: tuple[str, ...]
    weights: np.ndarray


def where_it_looked(file: Model, pictures: np.ndarray, max_length: int | None = None) -> list[Looks]:
    """What a file writes of pictures, and where it looked for each word.

    A word whose tokens are pieces of it, or characters, has the mean of theirs.

    Args:
        file: of a captioner, exported with attention=True, whose places are a grid of as many rows as columns.
        pictures: (pictures, height, width, channels) uint8.
        max_length: tokens to write, at most.

    Raises:
        InputError: the file says nothing of attention, or its places are no such grid.
    """
    looks = []
    for result in file.generate(pictures, max_length, details=True):
        if result.attention is None or file.tokenizer is None:
            raise InputError(f"{file.path.name} does not say where it looked; export the model with attention=True.")
        words = words_of(file.tokenizer, result.tokens)
        places = result.attention.shape[1]
        side = round(places**0.5)
        if side * side != places:
            raise InputError(f"{file.path.name} looks at {places} places; expected a grid of as many rows as columns.")
        weights = [result.attention[rows].mean(0) for _, rows in words]
        looks.append(Looks(tuple(word for word, _ in words), np.reshape(weights, (len(words), side, side))))
    return looks


def softly_enlarged(weights: np.ndarray, height: int, width: int) -> np.ndarray:
    """Weights over a grid as a smooth surface over a picture, blended (bilinear) between the middles of the places.

    Args:
        weights: (rows, columns).
        height, width: of the picture, pixels.

    Returns:
        (height, width).
    """
    return _blend(_blend(weights, height).T, width).T


def plot_where_it_looked(pictures: np.ndarray, looks: Sequence[Looks], path: Path, title: str = "") -> None:
    """Writes a PNG: a row per picture, first the picture, then for each word the same glowing where the model looked.

    Args:
        pictures: (pictures, height, width, channels) uint8; 1 channel or 3.
        looks: of each, as `where_it_looked` gives them.
        path: where the picture goes.
        title: of the whole.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    glow = colormaps["inferno"]
    columns = 1 + max(len(look.words) for look in looks)
    figure = Figure(figsize=(1.05 * columns, 1.3 * len(looks) + 0.3 * bool(title)), layout="constrained")
    if title:
        figure.suptitle(title, fontsize=10)
    grid = figure.subplots(len(looks), columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for row, picture, look in zip(grid, pictures, looks):
        color = np.repeat(picture, 3, axis=-1) if picture.shape[-1] == 1 else picture
        row[0].imshow(color)
        for axes, word, weights in zip(row[1:], look.words, look.weights):
            heat = glow(softly_enlarged(weights / max(weights.max(), 1e-9), *color.shape[:2]))[..., :3]
            axes.imshow((1 - _HEAT) * color / 255 + _HEAT * heat)
            axes.set_title(word, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")


def _blend(weights: np.ndarray, size: int) -> np.ndarray:
    """(rows, columns) -> (size, columns)."""
    at = (np.arange(size) + 0.5) * len(weights) / size - 0.5  # pixel -> place, both by their middles
    return np.stack([np.interp(at, np.arange(len(weights)), column) for column in weights.T], axis=1)
