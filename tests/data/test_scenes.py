"""Captions of synthetic scenes, checked on the pixels: colours, areas and centers of the shapes."""

import numpy as np
import pytest

from tfseq.data.scenes import COLOURS, scenes
from tfseq.errors import DataError

DATA = scenes((200, 20, 60))


def parsed(caption):
    words = caption.split()
    first, relation, second = words[1:3], " ".join(words[3:-3]), words[-2:]
    assert (words[0], words[-3]) == ("a", "a")
    return first, relation, second


def pixels_of(picture, colour):
    """Rows and columns of the pixels of a colour."""
    near = np.abs(picture.astype(int) - COLOURS[colour]).max(-1) < 12
    return np.argwhere(near)


def test_a_sentence_says_what_is_seen_and_how_it_lies():
    for picture, (caption,) in zip(*DATA.train):
        (one, _), relation, (other, _) = parsed(caption)
        first, second = pixels_of(picture, one), pixels_of(picture, other)
        assert len(first) > 4, caption
        assert len(second) > 4, caption
        row, column = second.mean(0) - first.mean(0)
        match relation:
            case "left of":
                assert column > 6
            case "above":
                assert row > 6
            case "inside":
                assert (first.min(0) > second.min(0)).all(), caption
                assert (first.max(0) < second.max(0)).all(), caption
            case _:
                pytest.fail(caption)


def test_shapes_fill_the_share_of_their_frame_that_geometry_says():
    share = {"circle": np.pi / 4, "square": 1.0, "triangle": 0.5, "cross": 5 / 9}
    found = {shape: [] for shape in share}
    large = scenes((200, 1, 1), canvas=96)
    for picture, (caption,) in zip(*large.train):
        (colour, shape), relation, _ = parsed(caption)
        if relation != "inside":
            places = pixels_of(picture, colour)
            height, width = np.ptp(places, axis=0) + 1
            found[shape].append(len(places) / (height * width))
    for shape, shares in found.items():
        assert np.mean(shares) == pytest.approx(share[shape], abs=0.06), shape


def test_what_the_test_part_describes_was_not_seen_before():
    seen = {captions[0] for part in (DATA.train, DATA.validation) for captions in part.targets}
    assert not seen & {captions[0] for captions in DATA.test.targets}
    words = {word for caption in seen for word in caption.split()}
    assert {word for captions in DATA.test.targets for word in captions[0].split()} <= words


def test_the_same_seed_draws_the_same_pictures():
    again, other = scenes((20, 2, 2)), scenes((20, 2, 2), seed=1)
    np.testing.assert_array_equal(again.train.inputs, scenes((20, 2, 2)).train.inputs)
    assert again.sha256 != other.sha256


@pytest.mark.parametrize(("sizes", "canvas"), [((1, 1, 0), 32), ((1, 1, 1), 8)])
def test_what_cannot_be_drawn_is_refused(sizes, canvas):
    with pytest.raises(DataError, match="expected 16 pixels or more"):
        scenes(sizes, canvas)
