"""Convolution by definition: against values by hand, NumPy, and TensorFlow's automatic gradients."""

import numpy as np
import pytest

from tfseq.analysis.convolution_by_definition import (
    box,
    convolve,
    convolved_boxes,
    correlate,
    dilated,
    gradients,
    integral,
    shifted,
)
from tfseq.errors import InputError

RANDOM = np.random.default_rng(0)
PADDINGS = {1: ["valid", "same", [(0, 3)], [(4, 1)]], 2: ["valid", "same", [(1, 1), (2, 0)], [(0, 3), (5, 4)]]}
CASES = [(axes, padding, stride) for axes in (1, 2) for padding in PADDINGS[axes] for stride in (1, 2, 3)]


def test_two_equal_boxes_give_a_triangle():
    t = np.array([-1.2, -1.0, -0.75, -0.5, 0.0, 0.25, 1.0])
    by_hand = [0, 0, 0.25, 0.5, 1, 0.75, 0]
    np.testing.assert_allclose(convolved_boxes(t), by_hand)
    np.testing.assert_allclose(integral(box, box, t, -0.5, 0.5), by_hand, atol=1e-4)


def test_two_unequal_boxes_give_a_plateau():
    t = np.linspace(-2, 2, 33)
    wide = integral(lambda x: box(x, 2.0), box, t, -1, 1)
    np.testing.assert_allclose(convolved_boxes(t, 2.0, 1.0), wide, atol=2e-4)
    np.testing.assert_allclose(convolved_boxes(np.array([0.0, 0.5, 1.0, 1.5]), 2.0, 1.0), [1, 1, 0.5, 0])


def test_two_bell_curves_give_one_whose_variances_add_up():
    def bell(variance):
        return lambda x: np.exp(-(x**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)

    t = np.linspace(-3, 3, 7)
    np.testing.assert_allclose(integral(bell(1.0), bell(0.5), t, -9, 9), bell(1.5)(t), rtol=1e-6)


def test_the_discrete_sum_by_hand_and_as_numpy_has_it():
    assert convolve([1, 2, 3], [0, 1, 0.5]).tolist() == [0, 1, 2.5, 4, 1.5]
    f, g = RANDOM.normal(size=7), RANDOM.normal(size=4)
    np.testing.assert_allclose(convolve(f, g), np.convolve(f, g))
    np.testing.assert_allclose(convolve(f, g), convolve(g, f))


def test_a_layer_correlates_by_hand():
    x = np.array([1.0, 2, 3, 4, 5])[None, :, None]
    kernel = np.array([1.0, 0, -2])[:, None, None]
    assert correlate(x, kernel)[0, :, 0].tolist() == [-5, -6, -7]
    assert correlate(x, kernel, stride=2)[0, :, 0].tolist() == [-5, -7]
    assert correlate(x, kernel, padding=[(1, 0)])[0, :, 0].tolist() == [-4, -5, -6, -7]
    assert correlate(x, kernel, padding=[(-1, 0)])[0, :, 0].tolist() == [-6, -7]


def test_a_layer_convolves_with_the_flipped_kernel():
    f, g = RANDOM.normal(size=9), RANDOM.normal(size=4)
    layer = correlate(f[None, :, None], g[::-1, None, None], padding=[(3, 3)])
    np.testing.assert_allclose(layer[0, :, 0], np.convolve(f, g))


def sample(axes, padding, stride, length=(10, 11), size=(4, 3)):
    x = RANDOM.normal(size=(2, *length[:axes], 3))
    kernel = RANDOM.normal(size=(*size[:axes], 3, 2))
    return x, kernel, RANDOM.normal(size=correlate(x, kernel, stride, padding).shape)


@pytest.mark.parametrize(("axes", "padding", "stride"), CASES)
def test_forward_and_backward_are_tensorflows(axes, padding, stride):
    tf = pytest.importorskip("tensorflow")
    x, kernel, dy = sample(axes, padding, stride)
    named = isinstance(padding, str)
    with tf.GradientTape() as tape:
        inputs = tf.constant(x), tf.constant(kernel)
        tape.watch(inputs)
        if named or axes == 1:
            inside = inputs[0] if named else tf.pad(inputs[0], [(0, 0), *padding, (0, 0)])
            y = tf.nn.convolution(inside, inputs[1], stride, padding.upper() if named else "VALID")
        else:
            y = tf.nn.conv2d(*inputs, stride, [(0, 0), *padding, (0, 0)])
        loss = tf.reduce_sum(y * dy)
    np.testing.assert_allclose(correlate(x, kernel, stride, padding), y, atol=1e-12)
    for ours, theirs in zip(gradients(x, kernel, dy, stride, padding), tape.gradient(loss, inputs), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_backward_by_hand():
    """y = [x0 + 2 x1 - x2, x2 + 2 x3 - x4]; x5 is never read."""
    x, kernel = np.array([1.0, 2, 3, 4, 5, 6])[None, :, None], np.array([1.0, 2, -1])[:, None, None]
    dx, dkernel = gradients(x, kernel, np.array([10.0, 100])[None, :, None], stride=2)
    assert dx[0, :, 0].tolist() == [10, 20, -10 + 100, 200, -100, 0]
    assert dkernel[:, 0, 0].tolist() == [10 * 1 + 100 * 3, 10 * 2 + 100 * 4, 10 * 3 + 100 * 5]


def test_backward_is_the_slope_in_three_dimensions():
    x, kernel = RANDOM.normal(size=(1, 4, 5, 4, 2)), RANDOM.normal(size=(2, 3, 2, 2, 2))
    padding, stride = [(1, 0), (0, 2), (1, 1)], 2
    dy = RANDOM.normal(size=correlate(x, kernel, stride, padding).shape)
    for which, gradient in enumerate(gradients(x, kernel, dy, stride, padding)):
        arrays = [x, kernel]
        direction = RANDOM.normal(size=arrays[which].shape)
        ends = []
        for sign in (1, -1):
            moved = list(arrays)
            moved[which] = arrays[which] + sign * direction
            ends.append(np.sum(correlate(*moved, stride, padding) * dy))
        assert (ends[0] - ends[1]) / 2 == pytest.approx(np.sum(gradient * direction))  # y is linear in each


def test_zeros_go_between_neighbours():
    assert dilated(np.array([[[1.0], [2], [3]]]), 3)[0, :, 0].tolist() == [1, 0, 0, 2, 0, 0, 3]


@pytest.mark.parametrize("by", [2, -3, 0])
def test_what_is_shifted_is_answered_shifted(by):
    x, kernel = np.zeros((1, 20, 2)), RANDOM.normal(size=(3, 2, 4))
    x[:, 6:12] = RANDOM.normal(size=(1, 6, 2))
    moved = correlate(shifted(x, by), kernel)
    assert np.abs(moved).max() > 0.1
    np.testing.assert_allclose(moved, shifted(correlate(x, kernel), by), atol=1e-12)


def test_a_stride_keeps_only_shifts_by_its_multiples():
    x, kernel = np.zeros((1, 20, 1)), RANDOM.normal(size=(3, 1, 1))
    x[:, 6:12] = RANDOM.normal(size=(1, 6, 1))
    strided = correlate(x, kernel, 2)
    np.testing.assert_allclose(correlate(shifted(x, 2), kernel, 2), shifted(strided, 1), atol=1e-12)
    assert not any(np.allclose(correlate(shifted(x, 1), kernel, 2), shifted(strided, by)) for by in (0, 1))


@pytest.mark.parametrize(
    ("shape", "kernel", "padding", "message"),
    [
        ((1, 5, 2), (3, 3, 1), "valid", "as many axes and channels"),
        ((1, 5), (3, 1), "valid", "as many axes and channels"),
        ((1, 5, 2), (6, 2, 1), "valid", "does not fit"),
        ((1, 5, 2), (3, 2, 1), "full", "expected valid, same, or 1 pairs"),
        ((1, 5, 2), (3, 2, 1), [(1, 1), (1, 1)], "expected valid, same, or 1 pairs"),
    ],
)
def test_what_does_not_fit_is_refused(shape, kernel, padding, message):
    with pytest.raises(InputError, match=message):
        correlate(np.zeros(shape), np.zeros(kernel), padding=padding)
