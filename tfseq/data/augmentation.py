"""More images from few: each batch turned, scaled, slanted and shifted a little, differently in every epoch."""

import math
from typing import Any

import tensorflow as tf

from tfseq.data.bucketing import Batches
from tfseq.errors import DataError


def distorted(
    batches: Batches,
    *,
    shift: float = 0.0,
    turn: float = 0.0,
    zoom: float = 0.0,
    slant: float = 0.0,
    seed: int = 0,
) -> Batches:
    """The batches of images with each image under an affine map of its own, drawn anew in every epoch.

    Between pixels colours are blended (bilinear); what comes from beyond the border is 0, black.

    Args:
        batches: epoch -> dataset of (images (batch, height, width, channels), ...), as `shuffled_batches` returns it.
        shift: at most so many pixels along each axis.
        turn: at most so many degrees, in either direction.
        zoom: each axis by a factor from 1 - zoom to 1 + zoom.
        slant: at most so many pixels sideways per pixel of height.
        seed: of the draws, which depend on it, the epoch and the batch alone.

    Returns:
        a function: epoch -> dataset, images in their type and shape, everything else as it was.

    Raises:
        DataError: a range below 0, or a zoom that leaves nothing.
    """
    ranges = {"shift": shift, "turn": turn, "zoom": zoom, "slant": slant}
    wrong = [f"{name} is {value}" for name, value in ranges.items() if not 0 <= value < math.inf]
    if wrong or zoom >= 1:
        raise DataError(f"{', '.join(wrong) or f'zoom is {zoom}'}; expected ranges of at least 0, and zoom below 1.")

    def epoch_of(epoch: Any) -> tf.data.Dataset:
        def distort(index, example):
            images, *rest = example
            key = tf.stack([tf.cast(seed, tf.int64), tf.cast(epoch, tf.int64) * 2**32 + index])
            draws = tf.random.stateless_uniform((6, tf.shape(images)[0]), key, -1.0, 1.0)
            moved = affine(
                images,
                turn=draws[0] * math.radians(turn),
                slant=draws[1] * slant,
                zoom_x=draws[2] * zoom,
                zoom_y=draws[3] * zoom,
                shift_x=draws[4] * shift,
                shift_y=draws[5] * shift,
            )
            return moved, *rest

        return batches(epoch).enumerate().map(distort, num_parallel_calls=tf.data.AUTOTUNE)

    return epoch_of


def affine(
    images: tf.Tensor,
    *,
    turn: tf.Tensor,
    slant: tf.Tensor,
    zoom_x: tf.Tensor,
    zoom_y: tf.Tensor,
    shift_x: tf.Tensor,
    shift_y: tf.Tensor,
) -> tf.Tensor:
    """Images enlarged, slanted and turned around their middle, then shifted; each by numbers of its own, (batch,).

    Args:
        images: (batch, height, width, channels).
        turn: radians, counter-clockwise.
        slant: pixels to the right per pixel upwards.
        zoom_x, zoom_y: 0.1 makes it a tenth wider, or higher.
        shift_x, shift_y: pixels to the right and down.
    """
    # Each pixel is taken from where the opposite of all that, in opposite order, leads to: [x'; y'] = [a b; d e] [x; y]
    # + [c; f], x to the right and y down from the upper left pixel.
    cos, sin = tf.cos(turn), tf.sin(turn)
    a, b = (cos + slant * sin) / (1 + zoom_x), (slant * cos - sin) / (1 + zoom_x)
    d, e = sin / (1 + zoom_y), cos / (1 + zoom_y)
    height, width = tf.unstack(tf.cast(tf.shape(images)[1:3], tf.float32))
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    c = middle_x - a * (middle_x + shift_x) - b * (middle_y + shift_y)
    f = middle_y - d * (middle_x + shift_x) - e * (middle_y + shift_y)
    zeros = tf.zeros_like(a)
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, c, d, e, f, zeros, zeros], axis=1),  # (batch, 8); the last two are of perspective
        output_shape=tf.shape(images)[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return tf.ensure_shape(moved, images.shape)
