"""`ConvolutionalEncoder`: a CNN that encodes images as feature vectors or feature maps."""

import keras
from keras import ops

from tfseq.layers.batch_norm import BatchNormalization

PADDINGS = ("same", "valid")


@keras.saving.register_keras_serializable(package="tfseq")
class ConvolutionalEncoder(keras.layers.Layer):
    """Stages of convolution and pooling over an image: O_c kernels over all channels give O_c output channels.

    One stage is `convolutions` times

        y[i, j, o] = ReLU(BatchNorm(b_o + sum_{a, b, c} w[a, b, c, o] x[i stride + a, j stride + b, c])),

    then the largest value of each pool x pool square. The last stage's output is a feature map, the grid; the call
    makes a vector of it, or returns it as it is.

    Args:
        filters: kernels of each stage, which are the channels that it puts out.
        units: width of the vector: a Dense layer with ReLU over the flattened grid, which keeps positions but takes one
            size of images; None for global average pooling, which takes any size and is `filters[-1]` wide.
        kernel_size: height and width of the kernels.
        stride: step of the kernels from one place to the next, in the first convolution of each stage.
        padding: "same" puts zeros around the image, so that kernels reach its edges; "valid" does not.
        pool: height and width of the squares; 1 for none.
        convolutions: of each stage.
        grid: whether to return the grid itself, for captioners, which attend to its places; `units` is None then.

    Call arguments:
        images: pixels from 0 to 255, uint8 or float: (batch, height, width) or (batch, height, width, channels); or
            clips, (batch, time, height, width, channels), each of whose frames is read alone, as
            `keras.layers.TimeDistributed` does, but all in one go.

    Returns:
        features, (batch, units); with `grid` (batch, rows, columns, filters[-1]). Of clips (batch, time, units).

    Raises:
        ValueError: hyper-parameters that can't be; images of other shapes, or too small for the stages.
    """

    def __init__(
        self,
        filters=(32, 64),
        units=None,
        kernel_size=3,
        stride=1,
        padding="same",
        pool=2,
        convolutions=1,
        grid=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True  # of frames, which stay what they are
        sizes = {
            "units": units,
            "kernel_size": kernel_size,
            "stride": stride,
            "pool": pool,
            "convolutions": convolutions,
        }
        if not filters or min(filters) < 1 or any(size is not None and size < 1 for size in sizes.values()):
            given = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise ValueError(f"filters is {filters}, {given}; expected at least one stage, and sizes from 1.")
        if padding not in PADDINGS:
            raise ValueError(f"padding is {padding!r}; expected one of {', '.join(PADDINGS)}.")
        if grid and units is not None:
            raise ValueError(f"units is {units} and grid True; expected no units: a grid is not summed up in a vector.")
        self.settings = {"filters": list(filters), "padding": padding, "grid": grid} | sizes
        self.filters, self.units = tuple(filters), units
        policy = {"dtype": self.dtype_policy}
        self.rescale = keras.layers.Rescaling(1 / 255, name="rescale", **policy)
        self.stages = [
            self._convolution(f"{i + 1}_{j + 1}", count, 1 if j else stride)
            for i, count in enumerate(self.filters)
            for j in range(convolutions)
        ]
        self.pool = keras.layers.MaxPooling2D(pool, name="pool", **policy)
        if units is not None:
            self.vector = keras.layers.Dense(units, "relu", name="vector", **policy)

    def _convolution(self, name, filters, stride):
        size, padding = self.settings["kernel_size"], self.settings["padding"]
        policy = {"dtype": self.dtype_policy}
        convolution = keras.layers.Conv2D(
            filters, size, stride, padding, use_bias=False, name=f"convolution_{name}", **policy
        )
        return convolution, BatchNormalization(momentum=0.9, name=f"norm_{name}", **policy)

    def build(self, input_shape):
        shapes = self._shapes(input_shape)
        for (convolution, norm), (before, after, _) in zip(self.stages, shapes):
            convolution.build(before)
            norm.build(after)
        if self.units is not None:
            shape = shapes[-1][-1]
            if None in shape[1:]:
                raise ValueError(
                    f"The images have the shape {tuple(input_shape)}, whose height or width is free; expected numbers "
                    "where units are given. units=None takes images of any size."
                )
            self.vector.build((None, shape[1] * shape[2] * shape[3]))

    def _shapes(self, images):
        """Of each convolution: the shapes of what it reads, of what it puts out, and of that once it is pooled."""
        shapes, shape = [], (None, *_image_shape(images))
        for i, (convolution, _) in enumerate(self.stages):
            after = self._computed(convolution, shape, images)
            pooled = self._computed(self.pool, after, images) if self._ends_stage(i) else after
            shapes.append((shape, after, pooled))
            shape = pooled
        return shapes

    def _computed(self, layer, shape, images):
        """The output's shape of a layer, none of whose sizes is 0."""
        try:
            shape = layer.compute_output_shape(shape)
        except ValueError:
            shape = (None, 0)
        if 0 in shape:
            raise ValueError(
                f"Images of the shape {tuple(images)} are too small for {len(self.filters)} stages with pool "
                f"{self.settings['pool']} and stride {self.settings['stride']}; give fewer filters, or larger images."
            )
        return shape

    def _ends_stage(self, i):
        return (i + 1) % self.settings["convolutions"] == 0

    def grid(self, images, training=False):
        """The feature map of the last stage: (batch, rows, columns, filters[-1])."""
        x = ops.expand_dims(images, -1) if len(images.shape) == 3 else images
        x = self.rescale(x)  # (batch, height, width, channels)
        for i, (convolution, norm) in enumerate(self.stages):
            x = ops.relu(norm(convolution(x), training=training))
            if self._ends_stage(i):
                x = self.pool(x)
        return x

    def call(self, images, training=False):
        if len(images.shape) == 5:  # clips
            frames = ops.reshape(images, (-1, *images.shape[2:]))
            features = self.call(frames, training=training)
            return ops.reshape(features, (-1, ops.shape(images)[1], *features.shape[1:]))
        x = self.grid(images, training=training)
        if self.settings["grid"]:
            return x
        if self.units is None:
            return ops.mean(x, axis=(1, 2))
        return self.vector(ops.reshape(x, (-1, x.shape[1] * x.shape[2] * x.shape[3])))

    def compute_output_shape(self, input_shape):
        shape = (self.filters[-1] if self.units is None else self.units,)
        if self.settings["grid"]:
            shape = self._shapes(input_shape)[-1][-1][1:]
        return (*input_shape[: 2 if len(input_shape) == 5 else 1], *shape)

    def get_config(self):
        return super().get_config() | self.settings


def _image_shape(shape):
    """(height, width, channels) of a batch of images or clips."""
    if len(shape) not in (3, 4, 5) or (shape[-1] is None and len(shape) > 3):
        raise ValueError(
            f"The images have the shape {tuple(shape)}; expected (batch, height, width), (batch, height, width, "
            "channels) or (batch, time, height, width, channels), with a number of channels."
        )
    return (*shape[1:], 1) if len(shape) == 3 else tuple(shape[-3:])
