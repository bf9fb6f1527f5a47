"""Images side by side, with what a model says of each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfseq.runtime.atomic_write import atomic_write

COLUMNS = 8


def draw_contact_sheet(images: np.ndarray, answers: Sequence[str], path: Path, columns: int = COLUMNS) -> None:
    """Writes a PNG.

    Args:
        images: (images, height, width, channels) uint8; 1 channel or 3.
        answers: what stands below each, in one line or several.
        path: where the picture goes.
        columns: images side by side.
    """
    from matplotlib.figure import Figure

    rows = -(-len(images) // columns)
    lines = 1 + max(answer.count("\n") for answer in answers)
    side = 0.9 * COLUMNS / columns  # inches
    figure = Figure(figsize=(side * columns, (side + 0.1 + 0.15 * lines) * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, image, answer in zip(grid, images, answers):
        axes.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
        axes.text(0.5, -0.03, answer, fontsize=8, ha="center", va="top", transform=axes.transAxes)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")
