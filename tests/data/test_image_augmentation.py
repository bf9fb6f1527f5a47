"""Image augmentation: where pixels move, and that the same seed gives the same images."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from tfseq.data import distorted, shuffled_batches
from tfseq.data.image_augmentation import KNOTS, affine, bent
from tfseq.errors import DataError

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (12, 6, 6, 2)).astype("uint8")
LABELS = np.arange(12).astype("int32")
RANGES = {"shift": 1.0, "turn": 20.0, "zoom": 0.2, "slant": 0.2}
NO_DRAW = dict.fromkeys(("turn", "slant", "zoom_x", "zoom_y", "shift_x", "shift_y"), 0.0)


def moved(images, **draws):
    rows = {name: tf.fill([len(images)], float(value)) for name, value in (NO_DRAW | draws).items()}
    return affine(tf.constant(images), **rows).numpy()


def test_nothing_moves_where_nothing_is_drawn():
    np.testing.assert_array_equal(moved(IMAGES), IMAGES)


def test_whole_pixels_are_moved_and_black_follows():
    expected = np.zeros_like(IMAGES)
    expected[:, 1:, :-2] = IMAGES[:, :-1, 2:]  # down by one, to the left by two
    np.testing.assert_array_equal(moved(IMAGES, shift_x=-2, shift_y=1), expected)


def test_half_a_pixel_blends_two_neighbours():
    images = IMAGES.astype("float32")
    expected = (images[:, :, :-1] + images[:, :, 1:]) / 2
    np.testing.assert_allclose(moved(images, shift_x=0.5)[:, :, 1:], expected, atol=1e-3)


def test_a_quarter_turn_is_numpys():
    np.testing.assert_allclose(moved(IMAGES.astype("float32"), turn=np.pi / 2), np.rot90(IMAGES, 1, (1, 2)), atol=0.01)


def test_zoom_enlarges_around_the_middle():
    """Twice as wide: pixel x comes from 2.5 + (x - 2.5) / 2, in an image of 6."""
    ramp = np.tile(np.arange(6.0, dtype="float32")[:, None], (1, 6, 1, 1))
    np.testing.assert_allclose(moved(ramp, zoom_x=1.0)[0, 0, :, 0], 2.5 + (np.arange(6) - 2.5) / 2, atol=1e-5)


def test_slant_moves_each_row_sideways_by_its_height():
    images = np.zeros((1, 5, 5, 1), "float32")
    images[:, :, 2] = 1
    np.testing.assert_allclose(moved(images, slant=1.0)[0, :, :, 0], np.eye(5)[::-1], atol=1e-5)


def test_bent_images_are_those_of_scipy():
    """With a knot per pixel, each is taken from where its knot says."""
    ndimage = pytest.importorskip("scipy.ndimage")
    knots = RANDOM.uniform(-3, 3, (12, 6, 6, 2)).astype("float32")
    images = IMAGES.astype("float32")
    found = bent(tf.constant(images), tf.constant(knots)).numpy()
    rows, columns = np.mgrid[:6, :6]
    for image, knot, other in zip(images, knots, found):
        places = [rows + knot[..., 1], columns + knot[..., 0]]
        for channel in range(2):
            expected = ndimage.map_coordinates(image[..., channel], places, order=1, mode="grid-constant")
            np.testing.assert_allclose(other[..., channel], expected, atol=1e-3)


def test_knots_that_agree_shift_the_image_and_whole_numbers_stay_so():
    knots = np.tile(np.float32([2, -1]), (12, KNOTS, KNOTS, 1))
    expected = np.zeros_like(IMAGES)
    expected[:, 1:, :-2] = IMAGES[:, :-1, 2:]  # taken from two to the right and one above
    found = bent(tf.constant(IMAGES), tf.constant(knots)).numpy()
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


def test_bending_adds_to_what_is_drawn_without_it():
    np.testing.assert_array_equal(epoch(3, **RANGES, bend=0.0)[0], epoch(3)[0])
    plain = epoch(3)[0].astype("float32")
    barely, visibly = (np.abs(epoch(3, **RANGES, bend=bend)[0] - plain) for bend in (1e-4, 1.0))
    assert barely.max() <= 1 < 5 < visibly.mean()


def epoch(number, seed=0, **ranges):
    batches = distorted(shuffled_batches(IMAGES, LABELS, 5, seed=None), seed=seed, **(ranges or RANGES))(number)
    images, labels = zip(*batches.as_numpy_iterator())
    return np.concatenate(images), np.concatenate(labels)


def test_an_epochs_images_depend_on_seed_and_epoch_alone():
    images, labels = epoch(3)
    np.testing.assert_array_equal(images, epoch(3)[0])
    np.testing.assert_array_equal(labels, LABELS)
    assert (images.dtype, images.shape) == (IMAGES.dtype, IMAGES.shape)
    for other in (epoch(4), epoch(3, seed=1)):
        assert (images != other[0]).mean() > 0.5


def test_every_image_has_a_draw_of_its_own():
    same = np.tile(IMAGES[:1], (12, 1, 1, 1))
    batches = distorted(shuffled_batches(same, LABELS, 5, seed=None), **RANGES)(0)
    images = np.concatenate([images for images, _ in batches.as_numpy_iterator()])
    assert len({image.tobytes() for image in images}) == 12


def test_draws_stay_in_their_range():
    """A dot in the middle of a large image, moved by at most 3 pixels, and by more than 1 in some."""
    dots = np.zeros((200, 21, 21, 1), "float32")
    dots[:, 10, 10] = 1
    images = next(iter(distorted(shuffled_batches(dots, np.zeros(200), 200, seed=None), shift=3.0)(0)))[0].numpy()
    places = (images * np.arange(21)[:, None, None]).sum((1, 2, 3)) - 10  # rows, by centre of mass
    assert 1 < np.abs(places).max() <= 3 + 1e-3
    assert abs(places.mean()) < 0.4


def test_the_shape_is_known_before_a_batch_is():
    spec, _ = distorted(shuffled_batches(IMAGES, LABELS, 5), shift=1.0, bend=1.0)(0).element_spec
    assert spec.shape.as_list() == [None, 6, 6, 2]


@pytest.mark.parametrize("wrong", [{"shift": -1.0}, {"turn": float("nan")}, {"zoom": 1.0}, {"bend": -1.0}])
def test_ranges_that_cannot_be_are_refused(wrong):
    with pytest.raises(DataError, match="expected ranges of at least 0"):
        distorted(shuffled_batches(IMAGES, LABELS, 5), **wrong)
