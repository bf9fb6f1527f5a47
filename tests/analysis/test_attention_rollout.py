"""Attention rollout by hand, and as the sum over all paths from the class token to a patch."""

import itertools

import numpy as np

from tfseq.analysis.attention_rollout import plot_rollout, rollout


def random_weights(blocks, batch=2, heads=3, positions=5):
    draw = np.random.default_rng(0).random((blocks, batch, heads, positions, positions))
    return list(draw / draw.sum(-1, keepdims=True))


def test_one_block_gives_what_the_class_token_attends_to():
    """Half past the block stays with the token; of the rest, head 1 looks at patch 1, head 2 at both equally."""
    weights = np.zeros((1, 2, 3, 3))
    weights[0, 0, 0] = [0.2, 0.8, 0.0]
    weights[0, 1, 0] = [0.0, 0.5, 0.5]
    np.testing.assert_allclose(rollout([weights]), [[0.65 / 0.9, 0.25 / 0.9]])


def test_it_is_the_sum_over_all_ways_from_the_token_down_to_a_patch():
    weights = random_weights(3)
    halves = [(w.mean(1) + np.eye(5)) / 2 for w in weights]  # (batch, 5, 5) of each block
    expected = np.zeros((2, 5))
    for row, first, second, last in itertools.product(range(2), *[range(5)] * 3):
        way = halves[2][row, 0, first] * halves[1][row, first, second] * halves[0][row, second, last]
        expected[row, last] += way
    patches = expected[:, 1:] / expected[:, 1:].sum(1, keepdims=True)
    np.testing.assert_allclose(rollout(weights), patches, rtol=1e-12)


def test_the_picture_is_written(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (7, 4, 4, 1), np.uint8)
    plot_rollout(images, np.full((7, 4), 0.25), ["a"] * 7, tmp_path / "folder" / "rollout.png")
    assert (tmp_path / "folder" / "rollout.png").read_bytes().startswith(b"\x89PNG")
