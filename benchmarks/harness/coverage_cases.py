"""Small models of every public layer of Keras and every function of keras.ops, with plausible arguments."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import layers, ops

Build = Callable[[], keras.Model]

ABSTRACT = (  # nothing to export: bases, parts of layers, and wrappers of what other libraries made
    *("InputLayer", "InputSpec", "Layer", "Wrapper", "FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper"),
    *("LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells", "MaxNumBoundingBoxes", "CutMix", "MixUp"),
)
NOT_OF_TENSORS = ("convert_to_numpy", "is_tensor", "dtype", "custom_gradient", "jvp", "vectorize")

VECTOR, SERIES, IMAGE, VOLUME = (6,), (7, 4), (8, 10, 3), (4, 5, 6, 2)
SPACES = {"1D": SERIES, "2D": IMAGE, "3D": VOLUME}
TEXTS = ["the cat sat", "on the mat"]


def layer_cases() -> Mapping[str, Build]:
    """Name of a class of `keras.layers` -> builds a model of it; those that are known by several names once."""
    classes: dict[str, type] = {}
    for name, made in inspect.getmembers(layers, inspect.isclass):
        if name == made.__name__ or not hasattr(layers, made.__name__):
            classes[name] = made
    return {
        name: partial(_of_layer, name)
        for name in sorted(classes)
        if name not in ABSTRACT and issubclass(classes[name], layers.Layer)
    }


def function_cases() -> Mapping[str, Build]:
    """Name of a function of `keras.ops` or of a module in it -> builds a model of a layer that calls it."""
    found: dict[str, Callable] = {}
    for prefix, module in (
        ("", ops),
        *((f"{name}.", getattr(ops, name)) for name in ("image", "linalg", "nn", "numpy")),
    ):
        for name, function in inspect.getmembers(module, callable):
            if not name.startswith("_") and name not in NOT_OF_TENSORS and function not in found.values():
                found[prefix + name] = function
    return {name: partial(_of_function, name, function) for name, function in found.items()}


APPLICATIONS = {  # the smallest of each family: its smallest images without its top, and its own size
    "ConvNeXtTiny": (32, 224),
    "DenseNet121": (32, 224),
    "EfficientNetB0": (32, 224),
    "EfficientNetV2B0": (32, 224),
    "InceptionResNetV2": (75, 299),
    "InceptionV3": (75, 299),
    "MobileNet": (32, 224),
    "MobileNetV2": (32, 224),
    "MobileNetV3Small": (32, 224),
    "NASNetMobile": (32, 224),
    "ResNet50": (32, 224),
    "ResNet50V2": (32, 224),
    "VGG16": (32, 224),
    "Xception": (71, 299),
}


def application_cases() -> Mapping[str, Build]:
    """Models of `keras.applications` with random weights, small ones first."""
    cases = {}
    for which, top in enumerate((False, True)):
        for name, sizes in APPLICATIONS.items():
            made = partial(getattr(keras.applications, name), weights=None, include_top=top)
            cases[f"{name} at {sizes[which]} px"] = partial(made, input_shape=(sizes[which], sizes[which], 3))
    return cases


def _of_layer(name: str) -> keras.Model:
    arguments = LAYERS.get(name)
    if arguments is None:
        arguments = next((shape for end, shape in SPACES.items() if name.endswith(end)), IMAGE), {}
    if name == "Equalization":  # idle at inference unless it is told otherwise
        return _of_function(name, partial(layers.Equalization(), training=True), [IMAGE])
    shape, options, *dtype = arguments
    options = {key: made() if callable(made) and not isinstance(made, type) else made for key, made in options.items()}
    layer = getattr(layers, name)(*options.pop("args", ()), **options)
    if adapted := TO_ADAPT.get(name):
        layer.adapt(adapted)
    shapes = shape if isinstance(shape, list) else [shape]
    inputs = [keras.Input(s, dtype=dtype[0] if dtype else None, name=f"x{i}") for i, s in enumerate(shapes)]
    if name in ("Attention", "AdditiveAttention", "HashedCrossing") or len(inputs) == 1:
        outputs = layer(inputs if len(inputs) > 1 else inputs[0])
    elif name in ("MultiHeadAttention", "GroupQueryAttention"):
        outputs = layer(*inputs)
    else:
        outputs = layer(inputs)
    return keras.Model(inputs, outputs)


class Call(layers.Layer):
    """Calls a function of tensors; complex results as their real and imaginary parts."""

    def __init__(self, function: Callable, **options: Any):
        super().__init__(**options)
        self.function = function

    def compute_output_spec(self, inputs: Any) -> Any:
        """As of two batch sizes, where Keras' own inference needs the function to take symbols."""
        small, large = (
            keras.tree.flatten(self.call([ops.ones((batch, *x.shape[1:]), x.dtype) for x in inputs]))
            for batch in (2, 3)
        )
        specs = [
            keras.KerasTensor(
                [n if n == m else None for n, m in zip(a.shape, b.shape)], keras.backend.standardize_dtype(a.dtype)
            )
            for a, b in zip(small, large)
        ]
        return specs if len(specs) > 1 else specs[0]

    def call(self, inputs: Any) -> Any:
        outputs = []
        for value in keras.tree.flatten(self.function(*inputs)):
            x = ops.convert_to_tensor(value)
            outputs += [ops.real(x), ops.imag(x)] if "complex" in keras.backend.standardize_dtype(x.dtype) else [x]
        return outputs if len(outputs) > 1 else outputs[0]


def _of_function(name: str, function: Callable, shapes: Sequence[tuple] = ()) -> keras.Model:
    made = (shapes, function) if shapes else FUNCTIONS.get(name.rpartition(".")[2])
    if made is None:
        tensors = [
            p.name
            for p in inspect.signature(function).parameters.values()
            if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
        ]
        made = ([(4, 6)] * len(tensors), function)
    specs, call = made
    inputs = []
    for i, spec in enumerate(specs):
        shape, dtype = spec if len(spec) == 2 and isinstance(spec[1], str) else (spec, "float32")
        inputs.append(keras.Input(shape, dtype=dtype, name=f"x{i}"))
    return keras.Model(inputs, Call(call, name=name.replace(".", "_"))(inputs))


TO_ADAPT: dict[str, Any] = {
    "StringLookup": TEXTS[0].split(),
    "TextVectorization": TEXTS,
    "IntegerLookup": [3, 7, 9],
}

_TWO = {"args": (2,)}
LAYERS: dict[str, tuple] = {  # shape or shapes of the inputs, arguments, and the inputs' dtype if it is not float32
    "Activation": (VECTOR, {"args": ("gelu",)}),
    "ActivityRegularization": (VECTOR, {"l2": 0.1}),
    **{f"Adaptive{kind}Pooling{d}": (s, _TWO) for kind in ("Average", "Max") for d, s in SPACES.items()},
    **{name: ([VECTOR, VECTOR], {}) for name in ("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply")},
    **{f"{kind}Pooling{d}": (s, _TWO) for kind in ("Average", "Max") for d, s in SPACES.items()},
    "Subtract": ([VECTOR, VECTOR], {}),
    "Dot": ([VECTOR, VECTOR], {"axes": 1}),
    "AdditiveAttention": ([SERIES, SERIES], {}),
    "Attention": ([SERIES, SERIES], {}),
    "MultiHeadAttention": ([SERIES, SERIES], {"num_heads": 2, "key_dim": 3}),
    "GroupQueryAttention": ([SERIES, SERIES], {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2}),
    **{name: (VECTOR, {"args": (0.2,)}) for name in ("AlphaDropout", "Dropout", "GaussianDropout", "GaussianNoise")},
    **{f"SpatialDropout{d}": (s, {"args": (0.2,)}) for d, s in SPACES.items()},
    **{name: (VECTOR, {}) for name in ("BatchNormalization", "ELU", "Identity", "LayerNormalization", "LeakyReLU")},
    **{name: (VECTOR, {}) for name in ("PReLU", "RMSNormalization", "ReLU", "Softmax", "UnitNormalization")},
    "GroupNormalization": (IMAGE, {"groups": 3}),
    "Bidirectional": (SERIES, {"args": lambda: (layers.LSTM(3, return_sequences=True),)}),
    "TimeDistributed": (SERIES, {"args": lambda: (layers.Dense(3),)}),
    "SpectralNormalization": (VECTOR, {"args": lambda: (layers.Dense(3),)}),
    "RNN": (SERIES, {"args": lambda: (layers.LSTMCell(3),)}),
    **{name: (SERIES, {"args": (3,), "return_sequences": True}) for name in ("GRU", "LSTM", "SimpleRNN")},
    "CategoryEncoding": (VECTOR, {"num_tokens": 5}, "int32"),
    "Discretization": (VECTOR, {"bin_boundaries": [-1.0, 0.0, 2.0]}),
    "Hashing": (VECTOR, {"num_bins": 5}, "int32"),
    "HashedCrossing": ([(), ()], {"num_bins": 5}, "int32"),
    "IntegerLookup": (VECTOR, {}, "int64"),
    "StringLookup": (VECTOR, {}, "string"),
    "TextVectorization": ((), {"output_sequence_length": 5}, "string"),
    "Normalization": (VECTOR, {"mean": [0.5] * 6, "variance": [2.0] * 6}),
    "Embedding": (VECTOR, {"args": (9, 4)}, "int32"),
    "ReversibleEmbedding": (VECTOR, {"args": (9, 4)}, "int32"),
    **{f"Conv{d}": (s, {"args": (4, 3), "padding": "same"}) for d, s in SPACES.items()},
    **{f"Conv{d}Transpose": (s, {"args": (4, 2), "strides": 3}) for d, s in SPACES.items()},
    **{f"DepthwiseConv{d}": (SPACES[d], {"args": (3,)}) for d in ("1D", "2D")},
    **{f"SeparableConv{d}": (SPACES[d], {"args": (4, 3)}) for d in ("1D", "2D")},
    **{f"ConvLSTM{d}": ((3, *s), {"args": (2, 3), "padding": "same"}) for d, s in SPACES.items()},
    "Dense": (VECTOR, {"args": (3,)}),
    "EinsumDense": (SERIES, {"args": ("abc,cd->abd", (None, 5))}),
    "CenterCrop": (IMAGE, {"args": (4, 5)}),
    "Cropping2D": (IMAGE, {"cropping": 2}),
    "Lambda": (VECTOR, {"args": (ops.square,)}),
    "Masking": (SERIES, {}),
    "MelSpectrogram": ((512,), {"num_mel_bins": 8, "sampling_rate": 800, "sequence_stride": 16, "fft_length": 64}),
    "STFTSpectrogram": ((256, 1), {"frame_length": 32, "frame_step": 16, "fft_length": 32}),
    "Permute": (SERIES, {"args": ((2, 1),)}),
    "Pipeline": (VECTOR, {"args": lambda: ([layers.Rescaling(2.0), layers.Dense(3)],)}),
    "RepeatVector": (VECTOR, {"args": (3,)}),
    "Rescaling": (IMAGE, {"args": (1 / 255,), "offset": -0.5}),
    "Reshape": (VECTOR, {"args": ((2, 3),)}),
    "Resizing": (IMAGE, {"args": (5, 7), "interpolation": "bicubic"}),
    "RandomCrop": (IMAGE, {"args": (4, 5)}),
    **{
        name: (IMAGE, {"factor": 0.2})
        for name in ("RandomBrightness", "RandomColorDegeneration", "RandomContrast", "RandomGrayscale", "RandomHue")
    },
    **{name: (IMAGE, {"factor": 0.2}) for name in ("RandomInvert", "RandomPerspective", "RandomRotation")},
    "RandomPosterization": (IMAGE, {"factor": 4}),
    "RandomSaturation": (IMAGE, {"factor": 0.2}),
    "RandomSharpness": (IMAGE, {"factor": 0.2}),
    "RandomShear": (IMAGE, {"x_factor": 0.2}),
    "RandomTranslation": (IMAGE, {"args": (0.2, 0.2)}),
    "RandomZoom": (IMAGE, {"args": (0.2,)}),
    **{f"ZeroPadding{d}": (s, {}) for d, s in SPACES.items()},
}

M, V, I, B = (4, 6), (6,), ((4, 6), "int32"), ((4, 6), "bool")  # noqa: E741
S = (3, 3)  # square matrices
P = (8, 10, 3)


def _float32(values: Any) -> np.ndarray:
    return np.array(values, "float32")


def _int32(values: Any) -> np.ndarray:
    return np.array(values, "int32")


def _definite(x: Any) -> Any:
    return ops.matmul(x, ops.swapaxes(x, -1, -2)) + 3 * ops.eye(x.shape[-1])


def _matrix(name: str, **options: Any) -> tuple:
    return [S], lambda x: getattr(ops, name)(_definite(x), **options)


def _whole(x: Any, below: int) -> Any:
    """Whole numbers from 0 to below."""
    return ops.cast(ops.mod(ops.floor(ops.abs(x) * 5), below), "int32")


def _with(name: str, *arguments: Any, of: tuple = M, **options: Any) -> tuple:
    """A function of one tensor with further arguments."""
    return [of], lambda x: getattr(ops, name)(x, *arguments, **options)


def _image(name: str, *arguments: Any, **options: Any) -> tuple:
    return [P], lambda x: getattr(ops.image, name)(x, *arguments, **options)


FUNCTIONS: dict[str, tuple] = {  # of the models' inputs, and what is called with them
    **{
        name: _matrix(name)
        for name in ("cholesky", "det", "eig", "eigh", "inv", "logdet", "pinv", "qr", "slogdet", "svd")
    },
    "lu_factor": ([S], lambda x: ops.lu_factor(_definite(x)[0])),
    "cholesky_inverse": ([S], lambda x: ops.cholesky_inverse(ops.cholesky(_definite(x)))),
    "matrix_rank": _matrix("matrix_rank"),
    "solve": ([S, S], lambda a, b: ops.solve(_definite(a), b)),
    "solve_triangular": ([S, S], lambda a, b: ops.solve_triangular(ops.tril(_definite(a)), b, lower=True)),
    "lstsq": ([S, S], lambda a, b: ops.lstsq(_definite(a)[0], b[0])),
    "trace": _with("trace", axis1=1, axis2=2),
    "diagonal": _with("diagonal", axis1=1, axis2=2),
    "diag": ([V], lambda x: ops.diag(x[0])),
    "diagflat": ([V], lambda x: ops.diagflat(x[0])),
    "adaptive_average_pool": _with("adaptive_average_pool", 2, of=P),
    "adaptive_max_pool": _with("adaptive_max_pool", 2, of=P),
    "average_pool": _with("average_pool", 2, of=P),
    "max_pool": _with("max_pool", 2, of=P),
    "conv": _with("conv", np.ones((3, 3, 3, 2), "float32") / 9, of=P),
    "conv_transpose": _with("conv_transpose", np.ones((2, 2, 4, 3), "float32") / 9, 3, of=P),
    "depthwise_conv": _with("depthwise_conv", np.ones((3, 3, 3, 1), "float32") / 9, of=P),
    "separable_conv": _with(
        "separable_conv", np.ones((3, 3, 3, 1), "float32") / 9, np.ones((1, 1, 3, 2), "float32"), of=P
    ),
    "depth_to_space": _with("depth_to_space", 2, of=(4, 5, 8)),
    "space_to_depth": _with("space_to_depth", 2, of=(4, 6, 3)),
    "fold": _with("fold", (4, 4), 2, of=(8, 9)),
    "unfold": _with("unfold", 2, of=(3, 8, 10)),
    "arange": ([V], lambda x: ops.arange(x.shape[1], dtype="float32") + x),
    "array_split": _with("array_split", 4, axis=2),
    "split": _with("split", 3, axis=2),
    "hsplit": _with("hsplit", 2),
    "vsplit": ([M], lambda x: ops.vsplit(x[0], 2)),
    "dsplit": _with("dsplit", 2),
    "associative_scan": ([M], lambda x: ops.associative_scan(ops.add, x, axis=-1)),
    "batch_normalization": _with("batch_normalization", np.zeros(6, "float32"), np.ones(6, "float32"), -1),
    "bartlett": ([V], lambda x: ops.bartlett(6) * x),
    "blackman": ([V], lambda x: ops.blackman(6) * x),
    "hamming": ([V], lambda x: ops.hamming(6) * x),
    "hanning": ([V], lambda x: ops.hanning(6) * x),
    "kaiser": ([V], lambda x: ops.kaiser(6, 2.0) * x),
    "binary_crossentropy": ([M, M], lambda x, y: ops.binary_crossentropy(ops.sigmoid(x), ops.sigmoid(y))),
    "categorical_crossentropy": ([M, M], lambda x, y: ops.categorical_crossentropy(ops.softmax(x), ops.softmax(y))),
    "sparse_categorical_crossentropy": (
        [V, M],
        lambda x, y: ops.sparse_categorical_crossentropy(_whole(x[:, :4], 6), ops.softmax(y)),
    ),
    "bincount": ([V], lambda x: ops.bincount(_whole(x, 5), weights=x, minlength=5)),
    **{
        name: ([I, I], lambda x, y, name=name: getattr(ops, name)(x, ops.mod(y, 4)))
        for name in ("bitwise_left_shift", "bitwise_right_shift", "left_shift", "right_shift")
    },
    **{name: ([I, I], getattr(ops, name)) for name in ("bitwise_and", "bitwise_or", "bitwise_xor", "gcd", "lcm")},
    **{name: ([I], getattr(ops, name)) for name in ("bitwise_invert", "bitwise_not")},
    **{name: ([B, B], getattr(ops, name)) for name in ("logical_and", "logical_or", "logical_xor")},
    "logical_not": ([B], ops.logical_not),
    "ldexp": ([M, I], lambda x, n: ops.ldexp(x, ops.mod(n, 4))),
    "broadcast_to": ([V], lambda x: ops.broadcast_to(x[:, None], (ops.shape(x)[0], 3, 6))),
    "cast": _with("cast", "int32"),
    "saturate_cast": _with("saturate_cast", "uint8"),
    "view": _with("view", "int32"),
    "view_as_complex": ([(4, 2)], ops.view_as_complex),
    "view_as_real": ([M], lambda x: ops.view_as_real(ops.view_as_complex(ops.stack([x, 2 * x], -1)))),
    "clip": _with("clip", -0.5, 0.5),
    "append": ([M, M], partial(ops.append, axis=1)),
    "concatenate": ([M, M], lambda *x: ops.concatenate(x, 1)),
    **{name: ([M, M], lambda *x, name=name: getattr(ops, name)(x)) for name in ("stack", "hstack", "vstack", "dstack")},
    "cond": ([M], lambda x: ops.cond(ops.sum(x) > 0, lambda: x + 1, lambda: 2 * x)),
    "switch": ([M], lambda x: ops.switch(1, [ops.abs, ops.exp, ops.sin], x)),
    "while_loop": ([M], lambda x: ops.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, 2 * y), (0, x))[1]),
    "fori_loop": ([M], lambda x: ops.fori_loop(0, 3, lambda i, y: y + x, x)),
    "map": ([M], lambda x: ops.map(lambda row: 2 * row, x)),
    "vectorized_map": ([M], lambda x: ops.vectorized_map(lambda row: 2 * row, x)),
    "scan": ([M], lambda x: ops.scan(lambda c, y: (c + y, c * y), ops.zeros_like(x[0]), x)),
    "correlate": ([V], lambda x: ops.correlate(x[0], _float32([1, 2, 3]))),
    "corrcoef": ([M], lambda x: ops.corrcoef(x[0])),
    "cross": ([(4, 3), (4, 3)], ops.cross),
    "ctc_decode": ([M], lambda x: ops.ctc_decode(x, ops.full((ops.shape(x)[0],), 4, "int32"))),
    "ctc_loss": (
        [M],
        lambda x: ops.ctc_loss(
            ops.ones((ops.shape(x)[0], 2), "int32"),
            x,
            ops.full((ops.shape(x)[0],), 1, "int32"),
            ops.full((ops.shape(x)[0],), 4, "int32"),
        ),
    ),
    "digitize": _with("digitize", [-0.5, 0.0, 1.0]),
    "histogram": ([V], lambda x: ops.histogram(x[0], 5, (-1.0, 1.0))),
    "dot": ([M, (6,)], lambda x, y: ops.dot(x, y[0])),
    "matmul": ([M, (6, 3)], ops.matmul),
    "tensordot": ([M, M], lambda x, y: ops.tensordot(x, y[0], axes=[[2], [1]])),
    "dot_product_attention": ([(4, 2, 3)] * 3, ops.dot_product_attention),
    "einsum": ([M, M], lambda x, y: ops.einsum("bij,bkj->bik", x, y)),
    "rearrange": ([M], lambda x: ops.rearrange(x, "b (h c) d -> b h c d", c=2)),
    "empty": ([M], lambda x: 0 * ops.empty((4, 6)) + x),
    "empty_like": ([M], lambda x: ops.zeros_like(ops.empty_like(x)) + x),
    "eye": ([S], lambda x: ops.eye(3) + x),
    "identity": ([S], lambda x: ops.identity(3) + x),
    "tri": ([S], lambda x: ops.tri(3) + x),
    "full": ([M], lambda x: ops.full(ops.shape(x), 2.0) + x),
    "full_like": _with("full_like", 2.0),
    "ones": ([M], lambda x: ops.ones(ops.shape(x)) + x),
    "zeros": ([M], lambda x: ops.zeros(ops.shape(x)) + x),
    "expand_dims": _with("expand_dims", 1),
    "squeeze": _with("squeeze", 1, of=(1, 6)),
    "extract_sequences": _with("extract_sequences", 4, 2, of=(16,)),
    **{name: ([M, M], lambda x, y, name=name: getattr(ops, name)((x, y))) for name in ("fft", "fft2", "ifft2")},
    "irfft": ([M, M], lambda x, y: ops.irfft((x, y))),
    "stft": _with("stft", 16, 8, 16, of=(64,)),
    "istft": ([(64,)], lambda x: ops.istft(ops.stft(x, 16, 8, 16), 16, 8, 16)),
    "geomspace": ([V], lambda x: ops.geomspace(ops.abs(x) + 1, ops.abs(x) + 9, 5)),
    "linspace": ([V, V], lambda x, y: ops.linspace(x, y, 5)),
    "logspace": ([V, V], lambda x, y: ops.logspace(x, y, 5)),
    "get_item": _with("get_item", (slice(None), slice(1, 3))),
    "in_top_k": ([M], lambda x: ops.in_top_k(_whole(x[:, 0, 0], 6), x[:, 1], 2)),
    "top_k": _with("top_k", 3),
    "isin": ([I], lambda x: ops.isin(x, [1, 2, 5])),
    "meshgrid": ([V, V], lambda x, y: ops.meshgrid(x[0], y[0])),
    "moments": _with("moments", [1]),
    "moveaxis": _with("moveaxis", 1, 2),
    "swapaxes": _with("swapaxes", 1, 2),
    "transpose": _with("transpose", (0, 2, 1)),
    "multi_hot": ([V], lambda x: ops.multi_hot(_whole(x, 5), 5)),
    "one_hot": ([V], lambda x: ops.one_hot(_whole(x, 5), 5)),
    "pad": _with("pad", [[0, 0], [1, 2], [0, 1]]),
    "percentile": _with("percentile", 30, axis=1),
    "nanpercentile": _with("nanpercentile", 30, axis=1),
    "quantile": _with("quantile", 0.3, axis=1),
    "nanquantile": _with("nanquantile", 0.3, axis=1),
    **{name: _with(name, axis=1) for name in ("cumprod", "cumsum", "nancumprod", "nancumsum", "median", "nanmedian")},
    "norm": _with("norm", axis=(1, 2)),
    "argpartition": ([V], lambda x: ops.argpartition(10 * x[0], 2)),
    "kron": ([M, M], lambda x, y: ops.kron(x[0], y[0])),
    "psnr": ([M, M], lambda x, y: ops.psnr(x, y, 1.0)),
    "repeat": _with("repeat", 2, axis=1),
    "reshape": _with("reshape", (-1, 24)),
    "roll": _with("roll", 2, axis=1),
    "rot90": _with("rot90", axes=(1, 2)),
    "scatter": ([V], lambda x: ops.scatter([[0], [2]], x[0, :2], (4,))),
    "scatter_update": ([V], lambda x: ops.scatter_update(x[0], [[0], [2]], [1.0, 2.0])),
    "searchsorted": ([V], lambda x: ops.searchsorted(_float32([-1, 0, 1]), x[0])),
    **{
        f"segment_{kind}": (
            [(3,)],
            lambda x, kind=kind: getattr(ops, f"segment_{kind}")(ops.transpose(x), _int32([0, 2, 2]), num_segments=4),
        )
        for kind in ("max", "min", "prod", "sum")
    },
    "select": ([M, M], lambda x, y: ops.select([x > 0, y > 0], [x, y], 0.5)),
    "where": ([M, M], lambda x, y: ops.where(x > 0, x, y)),
    "nonzero": ([M], lambda x: ops.nonzero(x > 0)),
    "unique": ([I], ops.unique),
    "slice": ([M], lambda x: ops.slice(x, (0, 1, 2), (1, 2, 3))),
    "slice_update": ([M], lambda x: ops.slice_update(x, (0, 1, 0), 2 * x[:, :2])),
    "take": _with("take", [0, 2], axis=1),
    "take_along_axis": ([M], lambda x: ops.take_along_axis(x, ops.argsort(x, 1), 1)),
    "threshold": _with("threshold", 0.1, -1.0),
    "tile": _with("tile", (1, 2, 1)),
    "trapezoid": _with("trapezoid"),
    "unravel_index": ([V], lambda x: ops.unravel_index(_whole(x, 12), (3, 4))),
    "unstack": _with("unstack", axis=1),
    "vander": ([V], lambda x: ops.vander(x[0])),
    "cdist": ([M, M], ops.cdist),
    "shape": ([M], lambda x: x + ops.cast(ops.shape(x)[0], "float32")),
    "size": ([M], lambda x: x + ops.cast(ops.size(x), "float32")),
    "ndim": ([M], lambda x: x + ops.cast(ops.ndim(x), "float32")),
    "power": ([M, M], lambda x, y: ops.power(ops.abs(x) + 0.1, y)),
    "log": ([M], lambda x: ops.log(ops.abs(x) + 0.1)),
    "polar": ([M, M], lambda x, y: ops.polar(ops.abs(x), y)),
    "nextafter": ([M, M], ops.nextafter),
    "affine_transform": _image("affine_transform", _float32([1, 0.1, 0, 0, 1, 0.5, 0, 0])),
    "crop_images": _image("crop_images", 1, 2, target_height=4, target_width=5),
    "pad_images": _image("pad_images", 1, 2, target_height=12, target_width=13),
    "elastic_transform": _image("elastic_transform", seed=0),
    "extract_patches": _image("extract_patches", 3),
    "extract_patches_3d": ([VOLUME], lambda x: ops.image.extract_patches_3d(x, 2)),
    "gaussian_blur": _image("gaussian_blur"),
    "map_coordinates": ([V], lambda x: ops.image.map_coordinates(x[0], _float32([[0.5, 2.2]]), 1)),
    "perspective_transform": _image(
        "perspective_transform",
        _float32([[[0, 0], [9, 0], [0, 7], [9, 7]]]),
        _float32([[[1, 0], [9, 1], [0, 7], [8, 7]]]),
    ),
    **{name: _image(name) for name in ("rgb_to_grayscale", "sobel_edges")},
    "resize": _image("resize", (5, 7), interpolation="bicubic"),
    "scale_and_translate": _image(
        "scale_and_translate",
        (None, 5, 7, 3),
        _float32([0.6, 0.7]),
        _float32([0.5, 0.1]),
        (1, 2),
        "linear",
    ),
    "ssim": ([(16, 16, 3)] * 2, lambda x, y: ops.image.ssim(ops.sigmoid(x), ops.sigmoid(y), 1.0)),
    "rgb_to_hsv": ([P], lambda x: ops.image.rgb_to_hsv(ops.sigmoid(x))),
    "hsv_to_rgb": ([P], lambda x: ops.image.hsv_to_rgb(ops.sigmoid(x))),
}
