"""Image augmentation: random rotation, zoom, shear, shift and elastic distortion, drawn anew in every epoch."""

import math
from typing import Any

import tensorflow as tf

from tfseq.data.bucketing import Batches
from tfseq.errors import DataError

KNOTS = 5  # per axis


def distorted(
    batches: Batches,
    *,
    shift: float = 0.0,
    turn: float = 0.0,
    zoom: float = 0.0,
    slant: float = 0.0,
    bend: float = 0.0,
    seed: int = 0,
) -> Batches:
    """Batches of images with a random affine map and elastic distortion for each image, drawn anew in every epoch.

    Interpolation is bilinear; what comes from beyond the border is 0, black.

    Args:
        batches: epoch -> dataset of (images (batch, height, width, channels), ...), as `shuffled_batches` returns it.
        shift: at most so many pixels along each axis.
        turn: rotation by at most so many degrees, in either direction.
        zoom: each axis by a factor from 1 - zoom to 1 + zoom.
        slant: shear by at most so many pixels sideways per pixel of height.
        bend: elastic distortion (Simard et al., 2003): a grid of `KNOTS` x `KNOTS` points over the image, each moved by
            at most so many pixels along each axis, what lies between them smoothly with them; 0 leaves it out.
        seed: of the draws, which depend on it, the epoch and the batch alone.

    Returns:
        a function: epoch -> dataset, images in their type and shape, everything else as it was.

    Raises:
        DataError: a range below 0, or a zoom that leaves nothing.
    """
    ranges = {"shift": shift, "turn": turn, "zoom": zoom, "slant": slant, "bend": bend}
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
            if bend:
                other_key = key + tf.constant([1, 0], tf.int64)
                knots = tf.random.stateless_uniform((tf.shape(images)[0], KNOTS, KNOTS, 2), other_key, -bend, bend)
                moved = bent(moved, knots)
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


def bent(images: tf.Tensor, knots: tf.Tensor) -> tf.Tensor:
    """Images whose pixels are each taken from a little elsewhere: an elastic distortion.

    Args:
        images: (batch, height, width, channels).
        knots: (batch, rows, columns, 2), how far to the right and down of itself a pixel is taken from, in pixels, at
            points of a grid over the image; between them, cubic.
    """
    height, width, channels = images.shape[1:]
    x, y = tf.unstack(tf.image.resize(knots, (height, width), "bicubic"), axis=-1)  # (batch, height, width) each
    x = tf.clip_by_value(x + tf.range(width, dtype=x.dtype) + 1, 0, width + 1)  # + 1: there is a black border
    y = tf.clip_by_value(y + tf.range(height, dtype=y.dtype)[:, None] + 1, 0, height + 1)
    left, top = tf.minimum(tf.floor(x), float(width)), tf.minimum(tf.floor(y), float(height))
    right, below = (x - left)[..., None], (y - top)[..., None]  # shares of the neighbours to the right and below
    corner = tf.cast(top, tf.int32) * (width + 2) + tf.cast(left, tf.int32)
    pixels = tf.pad(tf.cast(images, tf.float32), [[0, 0], [1, 1], [1, 1], [0, 0]])
    pixels = tf.reshape(pixels, (-1, (height + 2) * (width + 2), channels))

    def at(down, across):
        return tf.gather(pixels, corner + down * (width + 2) + across, batch_dims=1)

    upper, lower = at(0, 0) * (1 - right) + at(0, 1) * right, at(1, 0) * (1 - right) + at(1, 1) * right
    blended = upper * (1 - below) + lower * below
    return tf.cast(tf.round(blended) if images.dtype.is_integer else blended, images.dtype)
