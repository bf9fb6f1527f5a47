"""Image operations patched while tracing: colours by formulas, projections by gathering, known margins."""

import itertools
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.backend.tensorflow import image as keras_image
from keras.src.ops import image as image_operations
from keras.src.utils import image_utils
from tensorflow.python.ops import gen_image_ops

from tfseq.keras_versions import function_of


def _rgb_to_hsv(images: Any, name: str | None = None) -> Any:
    """Hue, saturation and value by the hexagon of the largest and the smallest of red, green and blue."""
    red, green, blue = tf.unstack(tf.convert_to_tensor(images), axis=-1)
    value = tf.maximum(tf.maximum(red, green), blue)
    chroma = value - tf.minimum(tf.minimum(red, green), blue)
    grey = tf.equal(chroma, 0)
    sixth = 1 / (6 * tf.where(grey, tf.ones_like(chroma), chroma))
    of_green, of_blue = (blue - red) * sixth + 2 / 6, (red - green) * sixth + 4 / 6
    hue = tf.where(red == value, (green - blue) * sixth, tf.where(green == value, of_green, of_blue))
    hue = tf.where(grey, tf.zeros_like(hue), hue)
    hue = tf.where(hue < 0, hue + 1, hue)
    saturation = tf.where(value > 0, chroma / tf.where(value > 0, value, tf.ones_like(value)), tf.zeros_like(value))
    return tf.stack([hue, saturation, value], -1, name=name)


def _hsv_to_rgb(images: Any, name: str | None = None) -> Any:
    hue, saturation, value = tf.unstack(tf.convert_to_tensor(images), axis=-1)
    angle = hue * 6
    red = tf.clip_by_value(tf.abs(angle - 3) - 1, 0, 1)
    green, blue = (tf.clip_by_value(2 - tf.abs(angle - at), 0, 1) for at in (2, 4))
    return tf.stack([(1 - saturation + saturation * x) * value for x in (red, green, blue)], -1, name=name)


def _project(
    images: Any,
    transforms: Any,
    output_shape: Any,
    fill_value: Any,
    interpolation: str,
    fill_mode: str = "CONSTANT",
    name: str | None = None,
) -> Any:
    """Each pixel of the result from where its place (x, y, 1), times the matrix of eight numbers and a 1, comes to lie.

    images: (batch, height, width, channels); transforms: (1 or batch, 8); output_shape: height and width.
    """
    images = tf.convert_to_tensor(images)
    pixels = tf.cast(images, tf.float32)
    height, width = tf.shape(images)[1], tf.shape(images)[2]
    t = tf.unstack(tf.cast(transforms, tf.float32)[:, :, None, None], axis=1)  # each (1 or batch, 1, 1)
    columns, rows = (tf.cast(tf.range(output_shape[i]), tf.float32) for i in (1, 0))
    columns, rows = columns[None, None], rows[None, :, None]
    depth = t[6] * columns + t[7] * rows + 1
    nowhere = tf.equal(depth, 0)
    divisor = tf.where(nowhere, tf.ones_like(depth), depth)
    x = _inside((t[0] * columns + t[1] * rows + t[2]) / divisor, width, fill_mode)  # (1 or batch, height, width)
    y = _inside((t[3] * columns + t[4] * rows + t[5]) / divisor, height, fill_mode)

    batch, channels = tf.shape(images)[0], images.shape[-1] or tf.shape(images)[-1]
    flat = tf.reshape(pixels, (-1, channels))
    first = (tf.range(batch) * height * width)[:, None, None]
    fill = tf.cast(fill_value, tf.float32)

    def read(row: Any, column: Any) -> Any:
        known = (row >= 0) & (row < tf.cast(height, tf.float32)) & (column >= 0) & (column < tf.cast(width, tf.float32))
        row, column = (tf.cast(tf.where(known, i, tf.zeros_like(i)), tf.int32) for i in (row, column))
        return tf.where(known[..., None], tf.gather(flat, first + row * width + column), fill)

    if interpolation == "NEAREST":
        result = read(_rounded(y), _rounded(x))
    else:
        left, top = tf.floor(x), tf.floor(y)
        right, down = (x - left)[..., None], (y - top)[..., None]
        above = (1 - right) * read(top, left) + right * read(top, left + 1)
        below = (1 - right) * read(top + 1, left) + right * read(top + 1, left + 1)
        result = (1 - down) * above + down * below
    return tf.cast(tf.where(nowhere[..., None], fill, result), images.dtype, name=name)


def _rounded(x: Any) -> Any:
    """To the nearest whole number, halves away from 0."""
    return tf.sign(x) * tf.floor(tf.abs(x) + 0.5)


def _inside(at: Any, size: Any, fill_mode: str) -> Any:
    """Where a place beyond the image is read: anywhere ("CONSTANT"), at the border, mirrored or from the other side."""
    n = tf.cast(size, tf.float32)
    if fill_mode == "CONSTANT":
        return at
    if fill_mode == "REFLECT":
        turns = tf.floor(tf.abs(at) / (2 * n))
        before = at + 2 * n * turns
        before = tf.where(before < -n, before + 2 * n, -before - 1)
        after = at - 2 * n * turns
        after = tf.where(after >= n, 2 * n - after - 1, after)
    else:
        turns = tf.floor(tf.abs(at) / tf.maximum(n - 1, 1))
        before, after = at + n * (turns + 1), at - n * turns
    if fill_mode in ("REFLECT", "WRAP"):
        at = tf.where(at < 0, before, tf.where(at > n - 1, after, at))
    return tf.clip_by_value(at, 0, n - 1)


def _resize(
    images: Any,
    size: Any,
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: str | None = None,
) -> Any:
    """With the margin that keeps the shape as numbers, where the image's size is known; Keras computes it in the graph.

    So the size of what is resized stays known.
    """
    images = tf.convert_to_tensor(images)
    options: dict[str, Any] = {"interpolation": interpolation, "antialias": antialias, "data_format": data_format}
    rows = -2 if (data_format or keras.config.image_data_format()) == "channels_first" else -3
    rank = images.shape.rank
    height, width = (images.shape[rows], images.shape[rows + 1]) if rank in (3, 4) else (None, None)
    if crop_to_aspect_ratio == pad_to_aspect_ratio or height is None or width is None or fill_mode != "constant":
        options |= {"crop_to_aspect_ratio": crop_to_aspect_ratio, "pad_to_aspect_ratio": pad_to_aspect_ratio}
        return _RESIZE(images, size, fill_mode=fill_mode, fill_value=fill_value, **options)
    target_height, target_width = (int(n) for n in size)
    fitting = (  # height for this width, width for this height, rounded as Keras rounds them
        int(np.float32(width * target_height) / np.float32(target_width)),
        int(np.float32(height * target_width) / np.float32(target_height)),
    )
    axes = list(zip((rows, rows + 1), (height, width), fitting))
    if pad_to_aspect_ratio:
        sides = [[0, 0] for _ in images.shape]
        for axis, n, fit in axes:
            sides[axis] = [max(0, (fit - n) // 2)] * 2
        images = tf.pad(images, sides, constant_values=tf.cast(fill_value, images.dtype))
    else:
        part = [slice(None)] * len(images.shape)
        for axis, n, fit in axes:
            kept = max(min(n, fit), 1)
            part[axis] = slice((n - kept) // 2, (n - kept) // 2 + kept)
        images = images[tuple(part)]
    return _RESIZE(images, size, **options)


_RESIZE = keras_image.resize


def _resize_to_any_size(images: Any, size: Any, *arguments: Any, **options: Any) -> Any:
    """Without Keras' look at whether a size is above 0, where it is computed."""
    if any(tf.is_tensor(n) for n in size):
        return keras_image.resize(images, size, *arguments, **options)
    return _RESIZE_OPERATION(images, size, *arguments, **options)


_RESIZE_OPERATION = image_operations.resize


def _center_crop(self: Any, images: Any, transformation: Any = None, training: bool = True) -> Any:
    """Of images of free size: cut where they are as large as that, else resized; Keras' graph cuts whatever comes."""
    x = tf.cast(images, self.compute_dtype)
    first = 1 if self.data_format == "channels_last" else 2
    first += x.shape.rank - 4
    if None not in x.shape[first : first + 2]:
        return _CENTER_CROP(self, images, transformation, training)
    height, width = tf.shape(x)[first], tf.shape(x)[first + 1]
    shape = [*x.shape[:first], self.height, self.width, *x.shape[first + 2 :]]

    def resized() -> Any:
        return image_utils.smart_resize(x, [self.height, self.width], data_format=self.data_format)

    return tf.cond(
        tf.logical_and(height >= self.height, width >= self.width),
        lambda: tf.ensure_shape(_CENTER_CROP(self, x, transformation, training), shape),
        lambda: tf.ensure_shape(resized(), shape),
    )


_CENTER_CROP = keras.layers.CenterCrop.transform_images


def _scale_and_translate(
    images: Any,
    size: Any,
    scale: Any,
    translation: Any,
    kernel_type: str = "lanczos3",
    antialias: bool = True,
    name: str | None = None,
) -> Any:
    """Of images of free size as two products with weights that are computed; those of a fixed size have a table."""
    images = tf.convert_to_tensor(images)
    if None not in images.shape[1:3] or kernel_type not in _KERNELS:
        return _SCALE_AND_TRANSLATE(images, size, scale, translation, kernel_type, antialias, name)
    pixels = tf.cast(images, tf.float32)
    rows, columns = (
        _pixel_weights(tf.shape(images)[1 + i], size[i], scale[i], translation[i], _KERNELS[kernel_type], antialias)
        for i in (0, 1)
    )
    return tf.einsum("iy,byxc,jx->bijc", rows, pixels, columns, name=name)


_SCALE_AND_TRANSLATE = gen_image_ops.scale_and_translate


def _pixel_weights(before: Any, after: Any, scale: Any, translation: Any, kernel: Any, antialias: bool) -> Any:
    """Of each pixel of an axis in each resized one, (after, before)."""
    width = tf.maximum(1 / scale, 1.0) if antialias else 1.0
    centres = ((tf.cast(tf.range(after), tf.float32) + 0.5 - translation) / scale)[:, None]
    weights = kernel(tf.abs(tf.cast(tf.range(before), tf.float32) + 0.5 - centres) / width)
    total = tf.reduce_sum(weights, 1, keepdims=True)
    inside = (centres >= 0) & (centres <= tf.cast(before, tf.float32)) & (tf.abs(total) > 1e-6)
    return tf.where(inside, weights / tf.where(inside, total, 1.0), 0.0)


def _resize_bicubic(
    images: Any, size: Any, align_corners: bool = False, half_pixel_centers: bool = False, name: str | None = None
) -> Any:
    """Of images of free size as two products, with the weights that TensorFlow has a table of; ONNX has exact ones."""
    images = tf.convert_to_tensor(images)
    if None not in images.shape[1:3] or align_corners or not half_pixel_centers:
        return _RESIZE_BICUBIC(images, size, align_corners, half_pixel_centers, name)
    rows, columns = (_cubic_weights(tf.shape(images)[1 + i], size[i]) for i in (0, 1))
    return tf.einsum("iy,byxc,jx->bijc", rows, tf.cast(images, tf.float32), columns, name=name)


_RESIZE_BICUBIC = gen_image_ops.resize_bicubic
_CUBIC_STEPS = 1024  # places between two pixels in TensorFlow's table


def _cubic_weights(before: Any, after: Any) -> Any:
    """Of each pixel of an axis in each resized one, (after, before)."""
    scale = tf.cast(before, tf.float32) / tf.cast(after, tf.float32)
    place = (tf.cast(tf.range(after), tf.float32) + 0.5) * scale - 0.5
    low = tf.floor(place)
    place = (low + tf.round((place - low) * _CUBIC_STEPS) / _CUBIC_STEPS)[:, None]
    weights = _keys_cubic(tf.abs(tf.cast(tf.range(before), tf.float32) - place))
    return weights / tf.reduce_sum(weights, 1, keepdims=True)


def _lanczos(radius: float) -> Any:
    def sinc(x: Any) -> Any:
        angle = tf.where(x == 0, 1.0, np.float32(np.pi) * x)
        return tf.where(x == 0, 1.0, tf.sin(angle) / angle)

    return lambda x: tf.where(x < radius, sinc(x) * sinc(x / radius), 0.0)


def _keys_cubic(x: Any) -> Any:
    """Keys, "Cubic Convolution Interpolation" (1981), a = -1/2."""
    near, far = ((1.5 * x - 2.5) * x) * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return tf.where(x < 1, near, tf.where(x < 2, far, 0.0))


_KERNELS = {
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
    "triangle": lambda x: tf.maximum(0.0, 1 - x),
    "keyscubic": _keys_cubic,
}


def _elastic_transform(
    images: Any,
    alpha: float = 20.0,
    sigma: float = 5.0,
    interpolation: str = "bilinear",
    fill_mode: str = "reflect",
    fill_value: float = 0.0,
    seed: Any = None,
    data_format: str | None = None,
) -> Any:
    """Of any number of images, all at once; Keras takes them one by one, and a free number of them for one."""
    images = tf.convert_to_tensor(images)
    if images.shape.rank == 3:
        options = interpolation, fill_mode, fill_value, seed, data_format
        return _elastic_transform(images[None], alpha, sigma, *options)[0]
    first = (data_format or keras.config.image_data_format()) == "channels_first"
    if first:
        images = tf.transpose(images, (0, 2, 3, 1))
    batch, height, width, channels = (n or tf.shape(images)[i] for i, n in enumerate(images.shape))
    drawn = tf.stack([batch, height, width])
    size = 6 * int(sigma) | 1
    seed = keras_image.draw_seed(seed)

    def moved(extent: Any, axis: int) -> Any:
        noise = tf.random.stateless_normal(shape=drawn, seed=seed, dtype=images.dtype) * sigma
        blurred = keras_image.gaussian_blur(noise[..., None], (size, size), (sigma, sigma), "channels_last")[..., 0]
        places = tf.cast(tf.range(extent), images.dtype)
        return (places if axis == 2 else places[:, None]) + alpha * blurred

    columns, rows = moved(width, 2), moved(height, 1)  # (batch, height, width)
    nodes = keras_image._nearest_indices_and_weights if interpolation == "nearest" else _LINEAR_NODES
    flat = tf.reshape(images, (-1, channels))
    of_image = (tf.range(batch) * height * width)[:, None, None]
    result = tf.zeros((), images.dtype)
    for (row, row_weight), (column, column_weight) in itertools.product(nodes(rows), nodes(columns)):
        row, row_known = _read_at(row, height, fill_mode)
        column, column_known = _read_at(column, width, fill_mode)
        pixels = tf.gather(flat, of_image + row * width + column)  # (batch, height, width, channels)
        known = tf.logical_and(row_known, column_known)[..., None]
        pixels = tf.where(known, pixels, tf.cast(fill_value, images.dtype))
        result += (row_weight * column_weight)[..., None] * pixels
    return tf.transpose(result, (0, 3, 1, 2)) if first else result


_LINEAR_NODES = function_of(keras_image, "_linear_indices_and_weights")


def _read_at(place: Any, size: Any, fill_mode: str) -> tuple[Any, Any]:
    """The place inside an axis that is read for a whole number, and whether that is in the image."""
    inside = tf.logical_and(place >= 0, place < size) if fill_mode == "constant" else tf.ones_like(place, tf.bool)
    if fill_mode == "wrap":
        return place % size, inside
    if fill_mode in ("mirror", "reflect"):
        place = tf.abs(place) % (2 * size)
        place = tf.where(place < size, place, 2 * size - place - (1 if fill_mode == "reflect" else 0))
    return tf.clip_by_value(place, 0, size - 1), inside


def _crop_place(self: Any, data: Any, training: bool = True, seed: Any = None) -> Any:
    """Where a RandomCrop cuts, in the middle when it is not training, of images of free sizes too."""
    if training:
        return _CROP_PLACE(self, data, training, seed)
    shape = keras.ops.shape(data["images"] if isinstance(data, dict) else data)
    height, width = shape[self.height_axis], shape[self.width_axis]
    rows = tf.clip_by_value(width * self.height // self.width, 1, height)
    columns = tf.clip_by_value(height * self.width // self.height, 1, width)
    return (height - rows) // 2, (width - columns) // 2


_CROP_PLACE = keras.layers.RandomCrop.get_random_transformation

PATCHES = (
    (keras.layers.RandomCrop, "get_random_transformation", _crop_place),
    (tf.image, "rgb_to_hsv", _rgb_to_hsv),
    (tf.image, "hsv_to_rgb", _hsv_to_rgb),
    (tf.raw_ops, "ImageProjectiveTransformV3", _project),
    (keras.layers.CenterCrop, "transform_images", _center_crop),
    (gen_image_ops, "scale_and_translate", _scale_and_translate),
    (keras_image, "resize", _resize),
    (image_operations, "resize", _resize_to_any_size),
    (gen_image_ops, "resize_bicubic", _resize_bicubic),
    (keras_image, "elastic_transform", _elastic_transform),
)
