"""Clips drawn as strips of frames, with what a model says of them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tfseq.runtime.atomic_write import atomic_write


def draw_filmstrips(
    clips: Sequence[np.ndarray], answers: Sequence[str | Sequence[str]], path: Path, title: str = ""
) -> None:
    """Writes a PNG: a strip per clip, one frame beside the other.

    Args:
        clips: (time, height, width, channels) uint8 each; 1 channel or 3.
        answers: to each clip a text, which stands above its strip, or one text per frame, which stand below.
        path: where the picture goes.
        title: above all.
    """
    from matplotlib.figure import Figure

    longest = max(len(clip) for clip in clips)
    figure = Figure(figsize=(min(0.6 * longest, 9), 0.95 * len(clips) + 0.4), layout="constrained")
    figure.suptitle(title, fontsize=9)
    for axes, clip, answer in zip(figure.subplots(len(clips), squeeze=False)[:, 0], clips, answers, strict=True):
        gap = np.full((clip.shape[1], 1, clip.shape[3]), 160, "uint8")
        strip = np.concatenate([part for frame in clip for part in (frame, gap)][:-1], axis=1)
        axes.imshow(strip.squeeze(-1) if strip.shape[-1] == 1 else strip, cmap="gray", vmin=0, vmax=255)
        axes.set(xticks=[], yticks=[])
        if isinstance(answer, str):
            axes.set_title(answer, fontsize=8, loc="left", pad=2)
        else:
            width = clip.shape[2] + 1
            axes.set_xticks([i * width + width / 2 - 1 for i in range(len(clip))], answer, fontsize=8)
            axes.tick_params(length=0, pad=1)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=100, format="png")
