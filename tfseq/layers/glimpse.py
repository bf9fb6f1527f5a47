"""Glimpse sensor and glimpse network of the recurrent attention model (Mnih et al., 2014)."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfseq")
class GlimpseSensor(keras.layers.Layer):
    """Square crops of an image around a place: the sharp middle and, coarser and coarser, what lies around it.

    The sensor of Mnih et al. (2014): crop k covers 2^k size x 2^k size pixels and is shrunk to size x size. A pixel of
    a crop is a weighted mean of the image's, by a triangle as wide as the crop's pixels, so that places between pixels
    blend their neighbours (bilinear), and beyond the border all is 0. Rows and columns are weighed one after the other,

        crop = R image C',   R[i, y] = max(0, 1 - |y - y_i| / 2^k) / 2^k,

    which is two matrix products: nothing that a graph would have to gather.

    Args:
        size: height and width of a crop, pixels.
        scales: how many crops.

    Call arguments:
        images: (batch, height, width, channels) float.
        locations: (batch, 2) float, x and y of the middle: (-1, -1) is the image's corner on the upper left, (1, 1) the
            one on the lower right.

    Returns:
        crops, (batch, scales, channels, size, size).

    Raises:
        ValueError: size or scales is below 1.
    """

    def __init__(self, size=8, scales=1, **kwargs):
        super().__init__(**kwargs)
        if min(size, scales) < 1:
            raise ValueError(f"size is {size} and scales {scales}; expected at least 1 of each.")
        self.size, self.scales = size, scales

    def call(self, images, locations):
        height, width = images.shape[1], images.shape[2]
        pixels = ops.transpose(images, (0, 3, 1, 2))[:, None]  # (batch, 1, channels, height, width)
        columns = self._weights(locations[:, 0], width)[:, :, None]  # (batch, scales, 1, size, width)
        rows = self._weights(locations[:, 1], height)[:, :, None]  # (batch, scales, 1, size, height)
        return ops.matmul(ops.matmul(rows, pixels), ops.swapaxes(columns, -1, -2))

    def _weights(self, middle, length):
        """R of every scale for places along one axis of `length` pixels: (batch, scales, size, length)."""
        step = 2.0 ** ops.arange(self.scales, dtype=self.compute_dtype)[:, None]  # (scales, 1)
        offsets = ops.arange(self.size, dtype=self.compute_dtype) - (self.size - 1) / 2  # (size,)
        middle = (middle + 1) * (length / 2) - 0.5  # (batch,), in pixels; the first pixel's middle is 0
        wanted = middle[:, None, None] + step * offsets  # (batch, scales, size)
        distance = ops.abs(wanted[..., None] - ops.arange(length, dtype=self.compute_dtype))
        return ops.relu(1 - distance / step[..., None]) / step[..., None]

    def get_config(self):
        return super().get_config() | {"size": self.size, "scales": self.scales}


@keras.saving.register_keras_serializable(package="tfseq")
class GlimpseNetwork(keras.layers.Layer):
    """What was seen and where: g = relu(W_1 relu(W_2 crops) + W_3 relu(W_4 location)) (Mnih et al., 2014, section 3).

    Args:
        units: width of g; each of the two inner layers has half of it.

    Call arguments:
        crops: (batch, ...) float, as a `GlimpseSensor` returns them.
        location: (batch, 2) float.

    Returns:
        g, (batch, units).

    Raises:
        ValueError: units is below 2.
    """

    def __init__(self, units=256, **kwargs):
        super().__init__(**kwargs)
        if units < 2:
            raise ValueError(f"units is {units}; expected at least 2, one for what was seen and one for where.")
        self.units = units
        policy = {"dtype": self.dtype_policy}
        self.flat = keras.layers.Flatten(**policy)
        self.see = keras.layers.Dense(units // 2, "relu", name="see", **policy)
        self.place = keras.layers.Dense(units // 2, "relu", name="place", **policy)
        self.both = keras.layers.Dense(units, "relu", name="both", **policy)

    def build(self, crops_shape, location_shape):
        pixels = 1
        for size in crops_shape[1:]:
            pixels *= size
        self.see.build((None, pixels))
        self.place.build((None, location_shape[-1]))
        self.both.build((None, self.units // 2 * 2))
        self.built = True

    def call(self, crops, location):
        what, where = self.see(self.flat(crops)), self.place(location)  # (batch, units / 2) each
        return self.both(ops.concatenate([what, where], axis=-1))  # W_1 and W_3 side by side

    def get_config(self):
        return super().get_config() | {"units": self.units}
