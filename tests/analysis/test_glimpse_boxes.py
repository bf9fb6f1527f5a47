"""Glimpse boxes: their coordinates, the share of the image they cover, and the plot."""

import numpy as np
import pytest

from tfseq.analysis.glimpse_boxes import boxes, coverage, plot_glimpses
from tfseq.errors import InputError

RANDOM = np.random.default_rng(0)


def test_boxes_by_hand():
    places = np.array([[0, 0], [-1, -1], [0.5, 1]])
    assert boxes(places, 20, 40, 8).tolist() == [[16, 6, 24, 14], [-4, -4, 4, 4], [26, 16, 34, 24]]


def test_coverage_counts_pixels_once():
    locations = RANDOM.uniform(-1.2, 1.2, (3, 4, 2))
    covered = np.zeros((3, 10, 7), bool)
    for n, row, column in np.ndindex(covered.shape):
        for x, y in locations[n]:
            near = abs((x + 1) / 2 * 7 - column - 0.5) < 1.5 and abs((y + 1) / 2 * 10 - row - 0.5) < 1.5
            covered[n, row, column] |= near
    assert coverage(locations, 10, 7, 3) == pytest.approx(covered.mean())
    assert coverage(np.zeros((1, 6, 2)), 8, 8, 4) == 0.25


@pytest.mark.parametrize("shape", [(5, 8, 8), (5, 8, 8, 1), (5, 8, 8, 3)])
def test_the_picture_is_written(shape, tmp_path):
    path = tmp_path / "new" / "glimpses.png"
    images = RANDOM.integers(0, 256, shape).astype("uint8")
    plot_glimpses(images, RANDOM.uniform(-1, 1, (5, 3, 2)), list("abcde"), 4, path, "Five")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_what_does_not_go_together_is_refused(tmp_path):
    with pytest.raises(InputError, match="2 images, 3 rows of locations and 2 answers"):
        plot_glimpses(np.zeros((2, 8, 8)), np.zeros((3, 4, 2)), ["a", "b"], 4, tmp_path / "a.png")
