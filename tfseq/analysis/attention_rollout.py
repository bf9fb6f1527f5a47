"""Attention rollout of a vision Transformer: the share of each image patch in the class token, and its plot."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfseq.runtime.atomic_write import atomic_write

COLUMNS = 6


def rollout(weights: Sequence[np.ndarray]) -> np.ndarray:
    """Attention of the class token to the patches through all blocks (Abnar and Zuidema, 2020).

    A block passes on half by attention, averaged over the heads, and half by its residual connection:
    A_b = (mean over heads of the weights + I) / 2, and through all blocks A_n ... A_2 A_1.

    Args:
        weights: of each block, (batch, heads, 1 + patches, 1 + patches), as `VisionEncoder.attention` gives them.

    Returns:
        (batch, patches), the class token's own share left out; rows sum to 1.
    """
    flow = np.eye(np.shape(weights[0])[-1])
    for block in weights:
        mixed = (np.asarray(block, np.float64).mean(1) + np.eye(block.shape[-1])) / 2
        flow = mixed @ flow
    patches = flow[:, 0, 1:]
    return patches / patches.sum(-1, keepdims=True)


def plot_rollout(images: np.ndarray, shares: np.ndarray, titles: Sequence[str], path: Path) -> None:
    """Writes a PNG: each image, and below it the same overlaid with the shares of its patches.

    Args:
        images: (images, height, width, channels) uint8; 1 channel or 3.
        shares: (images, patches), as `rollout` gives them; as many rows of patches as columns.
        titles: of each image.
        path: where the picture goes.
    """
    from matplotlib.figure import Figure

    lines = -(-len(images) // COLUMNS)
    figure = Figure(figsize=(1.25 * COLUMNS, 2.6 * lines), layout="constrained")
    grid = figure.subplots(2 * lines, COLUMNS, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    side = round(shares.shape[1] ** 0.5)
    for i, (image, share, title) in enumerate(zip(images, shares, titles)):
        above, below = grid[2 * (i // COLUMNS), i % COLUMNS], grid[2 * (i // COLUMNS) + 1, i % COLUMNS]
        shown = image.squeeze(-1) if image.shape[-1] == 1 else image
        above.imshow(shown, cmap="gray", vmin=0, vmax=255)
        above.set_title(title, fontsize=8)
        below.imshow(shown, cmap="gray", vmin=0, vmax=255, extent=(0, 1, 0, 1))
        below.imshow(share.reshape(side, side), cmap="inferno", alpha=0.7, extent=(0, 1, 0, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")
