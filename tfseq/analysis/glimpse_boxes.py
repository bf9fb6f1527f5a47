"""Glimpses of a recurrent attention model as boxes on the image: coordinates, coverage, and a plot."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfseq.errors import InputError
from tfseq.runtime.atomic_write import atomic_write

COLUMNS = 4
_CIRCLE = {"boxstyle": "circle,pad=0.15", "linewidth": 0}
_NUMBER = {
    "fontsize": 7,
    "weight": "bold",
    "color": "black",
    "ha": "center",
    "va": "center",
}


def boxes(locations: np.ndarray, height: int, width: int, size: int) -> np.ndarray:
    """The part of an image that each glimpse covers at its finest scale.

    Args:
        locations: (..., 2) x and y from (-1, -1), the upper left corner, to (1, 1), the lower right one.
        height, width: of the image, pixels.
        size: of a glimpse, pixels.

    Returns:
        (..., 4): left, top, right and bottom edge in pixels, 0 at the image's left and upper edge.
    """
    middle = (np.asarray(locations, "float64") + 1) / 2 * (width, height)  # (..., 2)
    return np.concatenate([middle - size / 2, middle + size / 2], axis=-1)


def coverage(locations: np.ndarray, height: int, width: int, size: int) -> float:
    """The share of the images' pixels whose middle at least one glimpse covers.

    Args:
        locations: (batch, glimpses, 2).
    """
    left, top, right, bottom = boxes(locations, height, width, size)[..., None].transpose(2, 0, 1, 3)
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    across, down = (left <= x) & (x < right), (top <= y) & (y < bottom)  # (batch, glimpses, width or height)
    return float((down[..., :, None] & across[..., None, :]).any(axis=1).mean())


def plot_glimpses(
    images: np.ndarray, locations: np.ndarray, answers: Sequence[str], size: int, path: Path, title: str = ""
) -> None:
    """Writes a PNG: each image with its glimpses as numbered boxes, from the first (purple) to the last (yellow).

    Args:
        images: (batch, height, width) or (batch, height, width, channels), 1 channel or 3, from 0 to 255.
        locations: of the glimpses, (batch, glimpses, 2), as the model returns them.
        answers: the title of each image.
        size: of a glimpse, pixels.
        path: of the PNG file.
        title: of the figure.

    Raises:
        InputError: there is no image, or not as many of one as of the other.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    if not len(images) == len(locations) == len(answers) > 0:
        raise InputError(
            f"There are {len(images)} images, {len(locations)} rows of locations and {len(answers)} answers; expected "
            "as many of each, and at least one."
        )
    height, width = images.shape[1:3]
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(2.1 * columns, 2.3 * rows + 0.3), layout="constrained")
    figure.suptitle(title, fontsize=11)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    colors = colormaps["plasma"](np.linspace(0.35, 1.0, locations.shape[1]))
    for axes in grid:
        axes.set_axis_off()
    for axes, image, places, answer in zip(grid, images, locations, answers):
        gray = image.squeeze(-1) if image.ndim == 3 and image.shape[-1] == 1 else image
        axes.imshow(gray, cmap="gray", vmin=0, vmax=255, extent=(0, width, height, 0))
        corners = boxes(places, height, width, size)
        middles = (corners[:, :2] + corners[:, 2:]) / 2
        axes.plot(*middles.T, color="0.8", linewidth=0.8)
        for number, (color, (left, top, _, _), middle) in enumerate(zip(colors, corners, middles), 1):
            axes.add_patch(Rectangle((left, top), size, size, fill=False, edgecolor=color, linewidth=1.5))
            axes.text(*middle, str(number), bbox=_CIRCLE | {"facecolor": color}, **_NUMBER)
        axes.set_title(answer, fontsize=9)
        edge = 3 * size / 8
        axes.set(xlim=(-edge, width + edge), ylim=(height + edge, -edge))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")
