"""Random stacks over all of Keras' layers and functions: arguments, ranks, sizes of 1 and free axes as chance has them.

Each is drawn by a function `choose` that picks one of a sequence: `random.Random(seed).choice`, or a draw of
hypothesis, which then finds the smallest stack that fails.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers, ops

from benchmarks.harness.coverage_cases import FUNCTIONS, Call, function_cases

Choose = Callable[[Sequence[Any]], Any]
Shape = tuple[int | None, ...]  # without the batch

ACTIVATIONS = (
    *("celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh"),
    *("leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu"),
    *("soft_shrink", "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus"),
    *("tanh", "tanh_shrink", "threshold"),
)
SMOOTH = ("tanh", "sigmoid", "relu", "linear", "gelu", "hard_sigmoid", "softsign", "elu")
BOOLEANS = (True, False)
FORMATS = ("channels_last", "channels_first")
UNTOUCHED = ("Hashing", "HashedCrossing", "IntegerLookup", "StringLookup", "TextVectorization")  # take other inputs


def layer_stack(choose: Choose) -> keras.Model:
    """Up to four layers, one after the other, some of them with a branch beside; those that do not fit are left out."""
    rank = choose((1, 2, 2, 2, 3, 3, 4))
    sizes = [choose((1, 2, 4, 5, 7)) for _ in range(rank)]
    if rank > 1:
        sizes[0] = choose((sizes[0], sizes[0], None))
    if rank > 2 and sizes[0] is None:
        sizes[1] = choose((sizes[1], None))
    whole = rank < 3 and choose((False, False, False, True))
    source = keras.Input(tuple(sizes), dtype="int32" if whole else "float32", name="x")
    x = source
    if whole:
        x = _first_of_whole_numbers(choose, x)
    elif rank == 2 and choose((False, False, True)):
        x = layers.Masking()(x)
    outputs = []
    for _ in range(choose((1, 2, 3, 4))):
        before = x
        x = _next(choose, x)
        if x is not before and choose((False, False, False, True)):
            outputs.append(x)
    if x is source:
        x = layers.Dense(2)(x)
    outputs = [*(y for y in outputs if y is not x), x]
    return keras.Model(source, outputs if len(outputs) > 1 else x)


def function_stack(choose: Choose) -> keras.Model:
    """A function of `keras.ops` between layers; or one with arguments drawn."""
    if choose((False, True)):
        return _with_arguments(choose)
    name = choose(sorted(function_cases()))
    short = name.rpartition(".")[2]
    if short not in FUNCTIONS:
        return function_cases()[name]()
    specs, function = FUNCTIONS[short]
    sources, tensors = [], []
    for i, spec in enumerate(specs):
        shape, dtype = spec if len(spec) == 2 and isinstance(spec[1], str) else (spec, "float32")
        source = keras.Input(shape, dtype=dtype, name=f"x{i}")
        x = source
        if dtype == "float32" and shape:
            x = choose(_OF_THE_SAME_SHAPE)(shape)(x)
        sources.append(source)
        tensors.append(x)
    found = Call(function, name=short)(tensors)
    outputs = []
    for y in keras.tree.flatten(found):
        rank = len(y.shape)
        if rank > 1 and y.dtype == "float32" and y.shape[-1] is not None and y.shape[0] is None:
            y = choose((layers.Identity(), layers.Dense(2), layers.Activation("tanh"), layers.LayerNormalization()))(y)
        outputs.append(y)
    return keras.Model(sources, outputs if len(outputs) > 1 else outputs[0])


_OF_THE_SAME_SHAPE = (
    lambda shape: layers.Identity(),
    lambda shape: layers.Dense(shape[-1]),
    lambda shape: layers.Activation("tanh"),
    lambda shape: layers.BatchNormalization(),
    lambda shape: layers.LSTM(shape[-1], return_sequences=True) if len(shape) == 2 else layers.LayerNormalization(),
    lambda shape: layers.Conv2D(shape[-1], 3, padding="same") if len(shape) == 3 else layers.Rescaling(0.5),
)


def _next(choose: Choose, x: Any) -> Any:
    """x behind a layer that takes it; x itself where Keras refuses the one that was drawn."""
    shape = tuple(x.shape[1:])
    makers = [*ANY, *BY_RANK.get(len(shape), ())]
    if x.dtype != "float32":
        return x
    try:
        y = choose(makers)(choose, shape)(x)
    except Exception:
        return x
    usable = [t for t in keras.tree.flatten(y) if isinstance(t, keras.KerasTensor)]
    if not usable or any(n == 0 for n in usable[0].shape):
        return x
    return usable[0]


def _first_of_whole_numbers(choose: Choose, x: Any) -> Any:
    made = choose(
        (
            lambda: layers.Embedding(9, choose((1, 4)), mask_zero=choose(BOOLEANS)),
            lambda: layers.Embedding(9, choose((1, 4)), mask_zero=choose(BOOLEANS)),
            lambda: layers.ReversibleEmbedding(9, 4, tie_weights=choose(BOOLEANS)),
            lambda: Cast("float32"),
            lambda: layers.CategoryEncoding(9, output_mode=choose(("multi_hot", "one_hot", "count"))),
        )
    )()
    try:
        return made(x)
    except Exception:
        return Cast("float32")(x)


class Cast(layers.Layer):
    """Numbers as another type."""

    def __init__(self, to: str, **options: Any):
        super().__init__(dtype=to, **options)
        self.to = to

    def call(self, x: Any) -> Any:
        return ops.cast(x, self.to)


def _axes(choose: Choose, shape: Shape) -> Any:
    """An axis from the front or the back, or several, of tensors with a batch."""
    rank = len(shape)
    axis = choose(range(1, rank + 1))
    return choose((-1, axis, axis - rank - 1, (1, -1) if rank > 1 else -1, [rank]))


def _static(shape: Shape, axis: int) -> int | None:
    return shape[axis - 1 if axis > 0 else axis]


def _dense(choose: Choose, shape: Shape) -> Any:
    return layers.Dense(choose((1, 3, 4)), activation=choose(ACTIVATIONS), use_bias=choose(BOOLEANS))


def _recurrent(choose: Choose, shape: Shape, **fixed: Any) -> Any:
    kind = choose((layers.LSTM, layers.GRU, layers.SimpleRNN))
    options: dict[str, Any] = {"return_sequences": choose((True, True, False)), "activation": choose(SMOOTH)}
    options |= {"use_bias": choose(BOOLEANS), "go_backwards": choose((False, False, True))}
    options |= {"zero_output_for_mask": choose(BOOLEANS), "unroll": choose((False, False, True))}
    if kind is not layers.SimpleRNN:
        options["recurrent_activation"] = choose(("sigmoid", "hard_sigmoid", "tanh"))
    if kind is layers.GRU:
        options["reset_after"] = choose(BOOLEANS)
    if kind is layers.LSTM:
        options["unit_forget_bias"] = choose(BOOLEANS)
    return kind(choose((1, 3)), **options | fixed)


class FirstOf(layers.Layer):
    """One of the outputs of a layer that has several: the states of a recurrent one, the scores of an attention."""

    def __init__(self, layer: Any, which: int, twice: bool = False, arguments: Any = None, **options: Any):
        super().__init__(**options)
        self.layer, self.which, self.twice, self.arguments = layer, which, twice, arguments or {}

    def call(self, x: Any) -> Any:
        outputs = self.layer(x, x, **self.arguments) if self.twice else self.layer(x, **self.arguments)
        flat = keras.tree.flatten(outputs)
        return flat[self.which % len(flat)]


def _recurrent_state(choose: Choose, shape: Shape) -> Any:
    return FirstOf(_recurrent(choose, shape, return_state=True), choose((0, 1, 2)))


def _bidirectional(choose: Choose, shape: Shape) -> Any:
    layer = _recurrent(choose, shape, go_backwards=False)
    return layers.Bidirectional(layer, merge_mode=choose(("concat", "sum", "mul", "ave", None)))


def _cells(choose: Choose, shape: Shape) -> Any:
    made = (layers.LSTMCell, layers.GRUCell, layers.SimpleRNNCell)
    cells = [choose(made)(choose((1, 3)), activation=choose(SMOOTH)) for _ in range(choose((1, 1, 2)))]
    cell = layers.StackedRNNCells(cells) if len(cells) > 1 else cells[0]
    options = {"go_backwards": choose(BOOLEANS), "unroll": choose((False, False, True))}
    return layers.RNN(cell, return_sequences=choose(BOOLEANS), **options)


def _time_distributed(choose: Choose, shape: Shape) -> Any:
    inner = shape[1:]
    makers = [*ANY[:12], *BY_RANK.get(len(inner), ())]
    return layers.TimeDistributed(choose(makers)(choose, inner))


def _attention(choose: Choose, shape: Shape) -> Any:
    kind = choose((layers.Attention, layers.AdditiveAttention))
    options = {"score_mode": choose(("dot", "concat"))} if kind is layers.Attention else {}
    layer = kind(use_scale=choose(BOOLEANS), **options)
    return _Self(layer, {"use_causal_mask": choose(BOOLEANS)})


class _Self(layers.Layer):
    """Attention of a sequence to itself, by a layer that takes a list."""

    def __init__(self, layer: Any, arguments: Any, **options: Any):
        super().__init__(**options)
        self.layer, self.arguments = layer, arguments

    def call(self, x: Any) -> Any:
        return self.layer([x, x], **self.arguments)


def _many_heads(choose: Choose, shape: Shape) -> Any:
    options = {"use_bias": choose(BOOLEANS), "dropout": choose((0.0, 0.1))}
    if choose((True, True, False)):
        layer = layers.MultiHeadAttention(choose((1, 2)), choose((1, 3)), value_dim=choose((None, 2)), **options)
    else:
        layer = layers.GroupQueryAttention(choose((1, 3)), 4, choose((1, 2, 4)), **options)
    arguments = {"use_causal_mask": choose(BOOLEANS), "return_attention_scores": choose((False, False, True))}
    return FirstOf(layer, choose((0, 1)), twice=True, arguments=arguments)


def _space(choose: Choose, rank: int, values: Sequence[int]) -> Any:
    """One number, or one for each axis."""
    return choose((choose(values), tuple(choose(values) for _ in range(rank))))


def _convolution(choose: Choose, shape: Shape) -> Any:
    rank = len(shape) - 1
    form = choose(FORMATS)
    channels = shape[-1 if form == "channels_last" else 0] or 1
    padding = choose(("same", "valid", "causal") if rank == 1 else ("same", "valid"))
    groups = choose((1, 1, channels))
    strides, dilation = choose(((_space(choose, rank, (1, 2, 3)), 1), (1, _space(choose, rank, (1, 2)))))
    return getattr(layers, f"Conv{rank}D")(
        groups * choose((1, 2)),
        _space(choose, rank, (1, 2, 3)),
        strides=strides,
        padding=padding,
        dilation_rate=dilation,
        groups=groups,
        data_format=form,
        activation=choose(SMOOTH),
        use_bias=choose(BOOLEANS),
    )


def _transposed_convolution(choose: Choose, shape: Shape) -> Any:
    rank = len(shape) - 1
    strides, dilation = choose(((_space(choose, rank, (1, 2, 3)), 1), (1, _space(choose, rank, (1, 2)))))
    return getattr(layers, f"Conv{rank}DTranspose")(
        choose((1, 2)),
        _space(choose, rank, (1, 2, 3)),
        strides=strides,
        padding=choose(("same", "valid")),
        dilation_rate=dilation,
        data_format=choose(FORMATS),
        use_bias=choose(BOOLEANS),
    )


def _separable(choose: Choose, shape: Shape) -> Any:
    rank = len(shape) - 1
    options: dict[str, Any] = {"padding": choose(("same", "valid", "causal") if rank == 1 else ("same", "valid"))}
    options |= {"depth_multiplier": choose((1, 2)), "data_format": choose(FORMATS), "use_bias": choose(BOOLEANS)}
    options |= choose(({"strides": choose((1, 2))}, {"dilation_rate": choose((1, 2))}))
    if choose(BOOLEANS):
        return getattr(layers, f"DepthwiseConv{rank}D")(choose((1, 2, 3)), **options)
    return getattr(layers, f"SeparableConv{rank}D")(choose((1, 3)), choose((1, 2, 3)), **options)


def _pooling(choose: Choose, shape: Shape) -> Any:
    rank, kind = len(shape) - 1, choose(("Average", "Max"))
    form = choose(FORMATS)
    if choose((False, False, True)):
        name = f"Adaptive{kind}Pooling{rank}D"
        return getattr(layers, name)(_space(choose, rank, (1, 2, 3)), data_format=form)
    if choose((False, False, True)):
        return getattr(layers, f"Global{kind}Pooling{rank}D")(data_format=form, keepdims=choose(BOOLEANS))
    return getattr(layers, f"{kind}Pooling{rank}D")(
        _space(choose, rank, (1, 2, 3)),
        strides=choose((None, _space(choose, rank, (1, 2)))),
        padding=choose(("same", "valid")),
        data_format=form,
    )


def _margins(choose: Choose, shape: Shape) -> Any:
    rank = len(shape) - 1
    kind = choose(("Cropping", "ZeroPadding", "UpSampling", "SpatialDropout"))
    form = {} if rank == 1 and kind != "ZeroPadding" else {"data_format": choose(FORMATS)}
    if kind == "SpatialDropout":
        return getattr(layers, f"SpatialDropout{rank}D")(0.3, **form)
    if kind == "UpSampling":
        if rank == 2:
            form["interpolation"] = choose(("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5"))
        size = choose((1, 2, 3)) if rank == 1 else _space(choose, rank, (1, 2, 3))
        return getattr(layers, f"UpSampling{rank}D")(size, **form)
    pairs = tuple((choose((0, 1)), choose((0, 1, 2))) for _ in range(rank))
    sides = choose((1, pairs[0] if rank == 1 else pairs))
    return getattr(layers, f"{kind}{rank}D")(sides, **form)


def _convolutional_lstm(choose: Choose, shape: Shape) -> Any:
    rank = len(shape) - 2
    return getattr(layers, f"ConvLSTM{rank}D")(
        choose((1, 2)),
        choose((1, 2, 3)),
        strides=choose((1, 1, 2)),
        padding=choose(("same", "valid")),
        data_format=choose(FORMATS),
        activation=choose(SMOOTH),
        return_sequences=choose(BOOLEANS),
        go_backwards=choose(BOOLEANS),
        unroll=choose((False, False, True)),
        use_bias=choose(BOOLEANS),
    )


def _image(choose: Choose, shape: Shape) -> Any:
    form = {"data_format": choose(FORMATS)}
    size = choose((1, 3, 4)), choose((1, 2, 6))
    if choose(BOOLEANS):
        kept = choose(({}, {}, {"crop_to_aspect_ratio": True}, {"pad_to_aspect_ratio": True}))
        ways = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5", "area")
        return layers.Resizing(*size, interpolation=choose(ways), antialias=choose(BOOLEANS), **kept, **form)
    if choose(BOOLEANS):
        return choose((layers.CenterCrop, layers.RandomCrop))(*size, **form)
    name = choose(
        ("RandomBrightness", "RandomContrast", "RandomHue", "RandomSaturation", "RandomRotation", "RandomFlip")
    )
    return getattr(layers, name)() if name == "RandomFlip" else getattr(layers, name)(0.2)


def _merge(choose: Choose, shape: Shape) -> Any:
    kind = choose(("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract", "Dot"))
    if kind == "Dot":
        axis = choose(range(1, len(shape) + 1))
        layer = layers.Dot(choose((axis, (axis, axis))), normalize=choose(BOOLEANS))
    else:
        layer = layers.Concatenate(axis=choose((-1, 1))) if kind == "Concatenate" else getattr(layers, kind)()
    beside = choose(
        (layers.Identity(), layers.Dense(shape[-1] or 1), layers.Dense(1), layers.Activation("tanh"))
        + ((layers.Reshape((1, *shape)),) if None not in shape else ())
    )
    return lambda x: layer([x, beside(x)])


def _functional(function: Callable) -> Callable[[Choose, Shape], Any]:
    return lambda choose, shape: layers.Lambda(function)


def _reshape(choose: Choose, shape: Shape) -> Any:
    if None in shape:
        return layers.Reshape((-1, choose((1, shape[-1] or 1))))
    size = math.prod(n or 1 for n in shape)
    first = choose([n for n in range(1, size + 1) if size % n == 0])
    return layers.Reshape(choose(((first, size // first), (-1,), (first, -1), (1, first, size // first))))


def _permute(choose: Choose, shape: Shape) -> Any:
    left, order = list(range(1, len(shape) + 1)), []
    while left:
        order.append(left.pop(left.index(choose(left))))
    return layers.Permute(order)


def _normalization(choose: Choose, shape: Shape) -> Any:
    axis = choose(range(1, len(shape) + 1))
    size = _static(shape, axis)
    if size is None or choose(BOOLEANS):
        return layers.Normalization(axis=None, mean=0.5, variance=2.0, invert=choose(BOOLEANS))
    return layers.Normalization(axis=axis, mean=[0.5] * size, variance=[2.0] * size, invert=choose(BOOLEANS))


def _spectrogram(choose: Choose, shape: Shape) -> Any:
    if choose(BOOLEANS):
        return layers.MelSpectrogram(num_mel_bins=4, sampling_rate=80, sequence_stride=2, fft_length=4)
    modes = ("log", "magnitude", "psd", "real", "imag", "angle", "stft")
    return layers.STFTSpectrogram(mode=choose(modes), frame_length=3, frame_step=1, fft_length=choose((3, 4)))


_PARTS = {"center": BOOLEANS, "scale": BOOLEANS}
ANY: list[Callable[[Choose, Shape], Any]] = [
    _dense,
    _dense,
    lambda choose, shape: layers.Activation(choose(ACTIVATIONS)),
    lambda choose, shape: layers.BatchNormalization(
        choose((-1, choose(range(1, len(shape) + 1)))), **{k: choose(v) for k, v in _PARTS.items()}
    ),
    lambda choose, shape: layers.LayerNormalization(_axes(choose, shape), **{k: choose(v) for k, v in _PARTS.items()}),
    lambda choose, shape: layers.RMSNormalization(_axes(choose, shape)),
    lambda choose, shape: layers.UnitNormalization(_axes(choose, shape)),
    lambda choose, shape: layers.GroupNormalization(
        choose((1, -1, 2)), choose((-1, 1)), **{k: choose(v) for k, v in _PARTS.items()}
    ),
    lambda choose, shape: layers.ReLU(choose((None, 0.5, 6.0)), choose((0.0, 0.1)), choose((0.0, 0.2))),
    lambda choose, shape: layers.PReLU(shared_axes=choose((None, [1], [*range(1, len(shape) + 1)]))),
    lambda choose, shape: choose((layers.ELU, layers.LeakyReLU, layers.Identity))(),
    lambda choose, shape: layers.Softmax(_axes(choose, shape)),
    lambda choose, shape: layers.Flatten(choose(FORMATS)),
    lambda choose, shape: choose((layers.Dropout, layers.AlphaDropout, layers.GaussianDropout, layers.GaussianNoise))(
        0.3
    ),
    lambda choose, shape: layers.ActivityRegularization(l1=0.1),
    lambda choose, shape: layers.Rescaling(0.5, offset=choose((0.0, -1.0))),
    lambda choose, shape: layers.SpectralNormalization(layers.Dense(3), power_iterations=choose((1, 2))),
    lambda choose, shape: layers.EinsumDense("...x,xy->...y", (*shape[:-1], 3), bias_axes=choose((None, "y"))),
    lambda choose, shape: layers.Pipeline([layers.Rescaling(2.0), layers.Dense(3)]),
    lambda choose, shape: layers.Discretization(bin_boundaries=[-0.93, 0.01, 0.47], output_mode="int"),
    lambda choose, shape: layers.Discretization(
        bin_boundaries=[-0.93, 0.01, 0.47], output_mode=choose(("one_hot", "multi_hot", "count"))
    ),
    _reshape,
    _permute,
    _normalization,
    _merge,
    _merge,
]
SPATIAL: list[Callable[[Choose, Shape], Any]] = [
    _convolution,
    _convolution,
    _transposed_convolution,
    _pooling,
    _margins,
]
BY_RANK: dict[int, list[Callable[[Choose, Shape], Any]]] = {
    1: [lambda choose, shape: layers.RepeatVector(choose((1, 3))), _spectrogram],
    2: [
        *SPATIAL,
        *([_recurrent, _bidirectional, _many_heads] * 2),
        *(_recurrent_state, _cells, _time_distributed, _attention, _separable),
        lambda choose, shape: layers.Masking(),
        _spectrogram,
    ],
    3: [*SPATIAL, _separable, _image, _image, _convolutional_lstm, _time_distributed, _many_heads],
    4: [*SPATIAL, _convolutional_lstm, _time_distributed],
}


def runs(model: keras.Model) -> bool:
    """Whether Keras can call it here, on arrays of zeros: TensorFlow lacks some kernels, and layers forget to check."""
    arrays = [
        ops.zeros([n or size for n, size in zip(x.shape, (2, 7, 7))] + list(x.shape[3:]), x.dtype) for x in model.inputs
    ]
    try:
        model(arrays if len(arrays) > 1 else arrays[0], training=False)
    except Exception:
        return False
    return True


def _with_arguments(choose: Choose) -> keras.Model:
    """A function with axes, `keepdims` and the like drawn, of a tensor of any rank behind a layer."""
    rank = choose((1, 2, 3))
    sizes = tuple(choose((1, 2, 4, 5)) for _ in range(rank))
    free = rank > 1 and choose((False, False, True))
    dtype = choose(("float32", "float32", "float32", "int32", "bool"))
    sources = [keras.Input((None, *sizes[1:]) if free else sizes, dtype=dtype, name="x")]
    axis = choose(range(1, rank + 1))
    axis = choose((axis, axis - rank - 1))
    kept = choose(BOOLEANS)
    several = choose((axis, None, (1, -1) if rank > 1 else (1,), axis))
    if choose((False, False, True)):
        shape = tuple(choose((1, n)) for n in sizes)
        sources.append(keras.Input(choose((shape, shape[1:])), dtype=choose((dtype, "float32", "int32")), name="y"))
        name = choose(_OF_TWO)
        return keras.Model(sources, Call(getattr(ops, name), name=name)(sources))
    n, margin = choose((0, 1, 2)), [[0, 0], *([choose((0, 1)), 1] for _ in range(rank))]
    options = {"axis": axis, "keepdims": kept}
    functions: list[tuple[str, Callable]] = [
        *((name, functools.partial(getattr(ops, name), axis=several, keepdims=kept)) for name in _REDUCTIONS),
        *((name, functools.partial(getattr(ops, name), axis=axis)) for name in _ALONG),
        *((name, getattr(ops, name)) for name in _OF_ONE),
        ("repeat", lambda x: ops.repeat(x, n, axis=axis)),
        ("roll", lambda x: ops.roll(x, n - 1, axis=axis)),
        ("pad", lambda x: ops.pad(x, margin, ("constant", "symmetric", "reflect")[n])),
        ("tile", lambda x: ops.tile(x, [1, *[n + 1] * rank])),
        ("take", lambda x: ops.take(x, ([0], [-1, 0], [[0], [0]])[n], axis=axis)),
        ("top_k", lambda x: ops.top_k(x, 1, sorted=kept)),
        ("quantile", lambda x: ops.quantile(x, (0.2, 0.5, [0.1, 0.9])[n], **options)),
        ("nanquantile", lambda x: ops.nanquantile(x, (0.2, 0.5, [0.1, 0.9])[n], **options)),
        ("percentile", lambda x: ops.percentile(x, 30, method=("nearest", "lower", "midpoint")[n], **options)),
        ("norm", lambda x: ops.norm(x, ord=(None, 1, 2)[n], **options)),
        ("diff", lambda x: ops.diff(x, n=n, axis=axis)),
        ("one_hot", lambda x: ops.one_hot(ops.cast(x, "int32"), 4, axis=(-1, 1, -1)[n])),
        *((f"cast_{to}", lambda x, to=to: ops.cast(x, to)) for to in ("int32", "bool", "uint8", "int64", "float16")),
        ("flip", lambda x: ops.flip(x, axis=axis if kept else None)),
        ("moveaxis", lambda x: ops.moveaxis(x, axis, -1)),
        ("split", lambda x: ops.split(x, [1], axis=axis)),
        ("unstack", lambda x: ops.unstack(x, axis=axis)),
        ("where", lambda x: ops.where(ops.cast(x, "bool"), x, n)),
        ("clip", lambda x: ops.clip(x, 0, n)),
        ("reversed", lambda x: x[:, ::-1]),
        ("ellipsis", lambda x: x[..., None, -1:]),
        ("logsumexp", lambda x: ops.logsumexp(x, **options)),
        ("moments", lambda x: ops.moments(x, axes=[rank], keepdims=kept)),
        ("normalize", lambda x: ops.normalize(x, axis=axis, order=n + 1)),
        ("cumsum", lambda x: ops.cumsum(x, axis=axis)),
    ]
    name, function = choose(functions)
    tensors: list[Any] = list(sources)
    if dtype == "float32" and choose(BOOLEANS):
        tensors = [layers.Dense(sizes[-1])(sources[0])]
    return keras.Model(sources, Call(function, name=name)(tensors))


_REDUCTIONS = (
    *("all", "amax", "amin", "any", "argmax", "argmin", "average", "count_nonzero", "max", "mean", "median", "min"),
    *("nanmax", "nanmean", "nanmin", "nanprod", "nanstd", "nansum", "nanvar", "prod", "ptp", "std", "sum", "var"),
)
_ALONG = (
    *(
        "argsort",
        "sort",
        "cumprod",
        "cumsum",
        "flip",
        "softmax",
        "log_softmax",
        "sparsemax",
        "expand_dims",
        "nancumsum",
    ),
    *("normalize", "glu", "logsumexp", "squeeze", "unstack", "trapezoid", "diff", "nanmedian"),
)
_OF_ONE = (
    *("abs", "negative", "sign", "square", "exp", "floor", "ceil", "round", "trunc", "isnan", "isfinite"),
    *("logical_not", "zeros_like", "ones_like", "ravel", "nonzero", "relu", "sigmoid", "tanh", "sin", "reciprocal"),
    *("expm1", "log1p", "arctan", "arcsinh", "cosh", "erf", "sqrt", "rsqrt", "gelu", "silu", "softplus", "signbit"),
)
_OF_TWO = (
    *("add", "subtract", "multiply", "divide", "divide_no_nan", "true_divide", "floor_divide", "mod", "fmod", "power"),
    *("maximum", "minimum", "fmax", "fmin", "equal", "not_equal", "greater", "less_equal", "logical_and", "logical_or"),
    *("arctan2", "hypot", "logaddexp", "heaviside", "isclose"),
)
