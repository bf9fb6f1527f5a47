"""Images side by side, with what a model says of each."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfseq.runtime.atomic_write import atomic_write

COLUMNS = 8


def draw_contact_sheet(images: np.ndarray, answers: Sequence[str], path: Path) -> None:
    """Writes a PNG.

    Args:
        images: (images, height, width, channels) uint8; 1 channel or 3.
        answers: what stands below each.
        path: where the picture goes.
    """
    from matplotlib.figure import Figure

    rows = -(-len(images) // COLUMNS)
    figure = Figure(figsize=(0.9 * COLUMNS, 1.15 * rows), layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, image, answer in zip(grid, images, answers):
        axes.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
        axes.text(0.5, -0.03, answer, fontsize=8, ha="center", va="top", transform=axes.transAxes)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")
