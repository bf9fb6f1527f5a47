"""Glimpse sensor and network: crops by hand and by loops in NumPy."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from tfseq.layers.glimpse import GlimpseNetwork, GlimpseSensor

RANDOM = np.random.default_rng(0)


def crops_of(images, locations, size, scales=1):
    sensor = GlimpseSensor(size, scales)
    return np.asarray(sensor(np.asarray(images, "float32"), np.asarray(locations, "float32")))


def test_a_glimpse_of_the_middle_is_a_slice():
    images = RANDOM.normal(size=(2, 8, 10, 3))
    crops = crops_of(images, [[0, 0], [0, 0]], 4)
    assert crops.shape == (2, 1, 3, 4, 4)
    np.testing.assert_allclose(crops[:, 0], images[:, 2:6, 3:7].transpose(0, 3, 1, 2), atol=1e-6)


def test_x_comes_first_and_grows_to_the_right_y_grows_downwards():
    images = RANDOM.normal(size=(1, 8, 10, 1))
    crops = crops_of(images, [[2 / 5, -1 / 4]], 4)  # 2 of 5 pixels to the right of the middle, 1 of 4 above it
    np.testing.assert_allclose(crops[0, 0, 0], images[0, 1:5, 5:9, 0], atol=1e-6)


def test_beyond_the_border_all_is_zero():
    images = RANDOM.normal(size=(2, 8, 8, 1))
    crops = crops_of(images, [[-1, -1], [1, 1]], 4)[:, 0, 0]
    expected = np.zeros((2, 4, 4))
    expected[0, 2:, 2:], expected[1, :2, :2] = images[0, :2, :2, 0], images[1, 6:, 6:, 0]
    np.testing.assert_allclose(crops, expected, atol=1e-6)


def test_a_place_between_pixels_blends_its_neighbours():
    images = RANDOM.normal(size=(1, 8, 8, 1))
    crops = crops_of(images, [[0.125, 0]], 4)[0, 0, 0]  # half a pixel to the right
    np.testing.assert_allclose(crops, (images[0, 2:6, 2:6, 0] + images[0, 2:6, 3:7, 0]) / 2, atol=1e-6)


def test_coarser_crops_are_weighted_means_of_what_lies_around():
    """Every pixel of every crop by loops over the image's pixels."""
    images, locations = RANDOM.normal(size=(2, 11, 9, 2)), RANDOM.uniform(-1, 1, (2, 2))
    expected = np.zeros((2, 3, 2, 3, 3))
    for n, k, i, j in np.ndindex(2, 3, 3, 3):
        step = 2**k
        x = (locations[n, 0] + 1) / 2 * 9 - 0.5 + (j - 1) * step
        y = (locations[n, 1] + 1) / 2 * 11 - 0.5 + (i - 1) * step
        for row, column in np.ndindex(11, 9):
            weight = max(0, 1 - abs(y - row) / step) * max(0, 1 - abs(x - column) / step) / step**2
            expected[n, k, :, i, j] += weight * images[n, row, column]
    np.testing.assert_allclose(crops_of(images, locations, 3, 3), expected, atol=1e-5)


def test_an_even_brightness_stays_what_it_is_at_every_scale():
    crops = crops_of(np.full((1, 40, 40, 1), 0.7), [[0.03, -0.11]], 4, 3)
    np.testing.assert_allclose(crops, 0.7, atol=1e-5)


def test_what_and_where_are_joined_as_in_the_paper():
    network = GlimpseNetwork(6)
    crops, location = RANDOM.normal(size=(4, 2, 1, 3, 3)), RANDOM.uniform(-1, 1, (4, 2))
    g = np.asarray(network(crops.astype("float32"), location.astype("float32")))
    see, see_bias, place, place_bias, both, bias = (np.asarray(w, "float64") for w in network.get_weights())
    what = np.maximum(crops.reshape(4, -1) @ see + see_bias, 0)
    where = np.maximum(location @ place + place_bias, 0)
    np.testing.assert_allclose(g, np.maximum(what @ both[:3] + where @ both[3:] + bias, 0), atol=1e-5)


@pytest.mark.parametrize("layer", [GlimpseSensor(5, 2), GlimpseNetwork(12)])
def test_layers_come_back_from_their_configuration(layer):
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()


def test_sizes_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="size is 0 and scales 1"):
        GlimpseSensor(0)
    with pytest.raises(ValueError, match="units is 1"):
        GlimpseNetwork(1)
