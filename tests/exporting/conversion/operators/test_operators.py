"""Operators that stock conversion gets wrong or lacks: ONNX Runtime gives what NumPy, `math` or Keras gives."""

import math

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from keras import layers, ops

import tfseq
from tfseq.errors import ExportError
from tfseq.exporting.conversion.convert import to_onnx
from tfseq.exporting.rewriting import count_operators
from tfseq.runtime import TensorSpec, load

TOLERANCE = 1e-4  # what `tfseq.export` verifies, too


class Function(layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)


def model_of(layer, shape=(None, 8), dtype="float32"):
    x = keras.Input(shape, dtype=dtype, name="x")
    return keras.Model(x, layer(x) if isinstance(layer, layers.Layer) else Function(layer)(x))


def run(tmp_path, layer, x, **options):
    """The output of the exported graph, and the names of its operators."""
    shape = tuple(None if axis == "free" else axis for axis in options.pop("shape", x.shape[1:]))
    model = model_of(layer, shape, str(x.dtype))
    manifest = tfseq.export(model, tmp_path / "model.onnx", **options)
    output = load(tmp_path / "model.onnx").predict(x=x)
    return output, manifest.operators


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


def test_gelu_is_exact(tmp_path):
    x = normal(3, 8)
    expected = [[v / 2 * (1 + math.erf(v / math.sqrt(2))) for v in row] for row in x.tolist()]
    output, _ = run(tmp_path, layers.Activation("gelu"), x)
    assert np.allclose(output, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (tf.math.erfc, np.vectorize(math.erfc)),
        (ops.expm1, np.expm1),
        (lambda x: ops.log1p(ops.abs(x)), lambda x: np.log1p(np.abs(x))),
        (lambda x: ops.erf(ops.erfinv(ops.tanh(x))), np.tanh),
        (lambda x: ops.digitize(x, [-0.5, 0.0, 1.0]), lambda x: np.digitize(x, [-0.5, 0.0, 1.0])),
        (tf.math.bessel_i0e, lambda x: np.i0(x) * np.exp(-np.abs(x))),
        (lambda x: tf.math.bessel_i0(5 * x), lambda x: np.i0(5 * x)),
        (lambda x: tf.math.bessel_i1(5 * x), lambda x: (np.i0(5 * x + 1e-5) - np.i0(5 * x - 1e-5)) / 2e-5),
        (lambda x: ops.argmax(x, -1), lambda x: np.argmax(x, -1)),
        (lambda x: ops.cumprod(x, -1), lambda x: np.cumprod(x, -1)),
    ],
)
def test_functions_that_onnx_lacks(tmp_path, function, expected):
    x = np.concatenate([normal(3, 8), np.float32([[1e-6, -1e-6, 0, 1e-4, -1e-4, 0.5, -0.5, 3]])])
    output, _ = run(tmp_path, function, x)
    assert np.allclose(
        output, expected(x.astype("float64")), rtol=1e-4, atol=1e-8 if function is not tf.math.erfc else 1e-6
    )


@pytest.mark.parametrize("function", [ops.cross, tf.linalg.cross])
def test_cross_products_over_free_axes(tmp_path, function):
    pairs = normal(3, 17, 6)
    output, _ = run(tmp_path, lambda x: function(x[..., :3], x[..., 3:]), pairs, shape=("free", 6))
    assert np.allclose(output, np.cross(pairs[..., :3], pairs[..., 3:]), atol=1e-6)


def test_cross_products_in_the_plane_and_with_one_vector_for_all(tmp_path):
    x, axis = normal(3, 17, 2), np.array([1.0, -2.0, 0.5], "float32")
    output, _ = run(tmp_path, lambda x: ops.cross(x, x[..., ::-1]), x, shape=("free", 2))
    assert np.allclose(output, x[..., 0] ** 2 - x[..., 1] ** 2, atol=1e-6)
    x = normal(3, 17, 3)
    output, _ = run(tmp_path, lambda x: ops.cross(axis, x), x, shape=("free", 3))
    assert np.allclose(output, np.cross(axis, x), atol=1e-6)


@pytest.mark.parametrize(("a", "b"), [((None, 1, 5), (None, 5)), ((None, 4), (None, 4)), ((None, 1), (None, 7))])
def test_shapes_broadcast_to_each_other(a, b):
    def function(x, y):
        return {"shape": tf.broadcast_dynamic_shape(tf.shape(x), tf.shape(y))}

    specs = [
        TensorSpec(name, "float32", tuple(f"{name}{i}" if size is None else size for i, size in enumerate(shape)))
        for name, shape in (("x", a), ("y", b))
    ]
    session = onnxruntime.InferenceSession(to_onnx(function, specs, None).SerializeToString())
    for free in (1, 3):
        x, y = (np.zeros([free if size is None else size for size in shape], "float32") for shape in (a, b))
        assert session.run(None, {"x": x, "y": y})[0].tolist() == list(np.broadcast_shapes(x.shape, y.shape))


def test_integers_are_divided_downwards(tmp_path):
    x = np.arange(-12, 12, dtype="int32").reshape(3, 8)
    output, _ = run(tmp_path, lambda x: (x // 5) * 100 + x % 5, x)
    assert np.array_equal(output, x // 5 * 100 + x % 5)


FFT = np.fft
TRANSFORMS = {
    "fft": (lambda x: ops.fft((x, 2 * x)), lambda x: FFT.fft(x + 2j * x)),
    "fft2": (lambda x: ops.fft2((x, ops.zeros_like(x))), FFT.fft2),
    "ifft2": (lambda x: ops.ifft2((x, x)), lambda x: FFT.ifft2(x + 1j * x)),
    "rfft": (ops.rfft, FFT.rfft),
    "rfft of 11": (lambda x: ops.rfft(x, fft_length=11), lambda x: FFT.rfft(x, 11)),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_fourier_transforms(tmp_path, name):
    ours, numpy = TRANSFORMS[name]
    x = normal(2, 6, 8)
    output, operators = run(tmp_path, lambda x: ops.stack(ours(x)), x, shape=("free", 8))
    expected = numpy(x)
    assert np.allclose(output, [expected.real, expected.imag], atol=1e-4)
    assert "DFT" in operators or "MatMul" in operators


@pytest.mark.parametrize("length", [8, 9])
def test_a_real_inverse_transform_mirrors_the_spectrum(tmp_path, length):
    x = normal(2, 5)
    output, _ = run(tmp_path, lambda x: ops.irfft((x, x * x), fft_length=length), x)
    assert np.allclose(output, FFT.irfft(x + 1j * x * x, length), atol=1e-5)


def test_magnitudes_of_a_short_time_transform(tmp_path):
    x = normal(2, 128)
    frames = np.stack([x[:, i : i + 32] for i in range(0, 97, 16)], 1) * np.hanning(33)[:-1].astype("float32")
    output, _ = run(tmp_path, lambda x: tf.abs(tf.signal.stft(x, 32, 16)), x, shape=("free",))
    assert np.allclose(output, np.abs(FFT.rfft(frames)), atol=1e-4)


@pytest.mark.parametrize("opset", [17, 18, 20, 23])
def test_transforms_at_every_opset_that_has_them(tmp_path, opset):
    x = normal(2, 8)
    output, _ = run(tmp_path, lambda x: ops.rfft(x)[1], x, opset=opset)
    assert np.allclose(output, FFT.rfft(x).imag, atol=1e-5)


def test_transforms_below_opset_17_are_refused(tmp_path):
    with pytest.raises(
        ExportError, match=r"^The layer \w+ \(Function\) computes TensorFlow's \w*FFT, .*: Fourier .* opset 17\. Leave"
    ):
        run(tmp_path, lambda x: ops.rfft(x)[1], normal(2, 8), opset=16)


EQUATIONS = ["bij,bkj->bik", "bij,bjk->bki", "bi,bj->bij", "...j,...j->...", "bij,bij->j", "bij,bik->bjk"]


@pytest.mark.parametrize("equation", EQUATIONS)
def test_einstein_sums_are_products(tmp_path, equation):
    terms = equation.split("->")[0].split(",")
    x = normal(3, 5) if len(terms[0]) == 2 else normal(3, 5, 5)
    output, operators = run(tmp_path, lambda x: ops.einsum(equation, x, x + 1), x)
    assert np.allclose(output, np.einsum(equation, x, x + 1), atol=1e-4)
    assert "Einsum" not in operators


@pytest.mark.parametrize("equation", ["bii->bi", "bii->b"])
def test_diagonals_stay_einstein_sums(tmp_path, equation):
    x = normal(3, 5, 5)
    output, _ = run(tmp_path, lambda x: ops.einsum(equation, x), x)
    assert np.allclose(output, np.einsum(equation, x), atol=1e-5)


def test_a_dense_layer_over_sequences_is_one_product(tmp_path):
    _, operators = run(tmp_path, layers.Dense(3, bias_initializer="normal"), normal(2, 4, 8), shape=("free", 8))
    assert operators == {"Add": 1, "MatMul": 1}


def test_tensordot_inside_a_loop(tmp_path):
    def function(x):
        weights = tf.reshape(tf.range(64, dtype=tf.float32) / 640, (8, 8))
        return ops.while_loop(lambda i, h: i < 3, lambda i, h: (i + 1, tf.tensordot(h, weights, 1)), (0, x))[1]

    x = normal(2, 4, 8)
    output, _ = run(tmp_path, function, x, shape=("free", 8))
    weights = np.arange(64).reshape(8, 8) / 640
    assert np.allclose(output, x @ weights @ weights @ weights, atol=1e-4)


@pytest.mark.parametrize("reverse", [False, True])
def test_scans(tmp_path, reverse):
    def function(x):
        steps = ops.transpose(x, (1, 0, 2))
        return ops.scan(lambda c, a: (0.5 * c + a, c * a), ops.zeros_like(x[:, 0]), steps, reverse=reverse)[1]

    output, _ = run(tmp_path, function, normal(2, 4, 3), shape=("free", 3))
    assert output.shape == (4, 2, 3)  # parity with Keras is what the export verifies


WRAPPED = {
    "convolution": lambda: layers.Conv2D(3, 3),
    "pooling": lambda: layers.MaxPooling2D(2),
    "average": lambda: layers.GlobalAveragePooling2D(),
    "normalization": lambda: layers.BatchNormalization(),
    "model": lambda: keras.Sequential([keras.Input((6, 6, 2)), layers.Conv2D(3, 3), layers.Flatten(), layers.Dense(2)]),
}


@pytest.mark.parametrize("layer", WRAPPED)
def test_time_distributed_over_frames_of_any_number(tmp_path, layer):
    inner = WRAPPED[layer]()
    x = normal(2, 3, 6, 6, 2)
    output, operators = run(tmp_path, layers.TimeDistributed(inner), x, shape=("free", 6, 6, 2))
    assert np.allclose(output, np.stack([inner(x[:, t]) for t in range(3)], 1), atol=1e-5)
    assert "Loop" not in operators


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_patches(tmp_path, padding):
    x = normal(2, 7, 8, 3)
    output, _ = run(tmp_path, lambda x: ops.image.extract_patches(x, 3, strides=2, padding=padding), x)
    assert np.allclose(output, ops.image.extract_patches(x, 3, strides=2, padding=padding), atol=1e-6)


def test_patches_that_tile_an_image_are_cut_without_a_product(tmp_path):
    x = np.arange(2 * 4 * 6 * 3, dtype="float32").reshape(2, 4, 6, 3)
    cut = lambda x: tf.image.extract_patches(x, [1, 2, 2, 1], [1, 2, 2, 1], [1, 1, 1, 1], "VALID")  # noqa: E731
    output, operators = run(tmp_path, cut, x)
    assert np.array_equal(output[1, 1, 2], x[1, 2:4, 4:6].ravel())
    assert "Conv" not in operators


@pytest.mark.parametrize("method", ["nearest", "bilinear", "bicubic", "lanczos3"])
def test_resizing_to_sizes_that_scales_do_not_give(tmp_path, method):
    """7 / 12 of 12 rows is 6.999.. rows in float32; parity with Keras is what the export verifies."""
    output, _ = run(tmp_path, layers.Resizing(7, 13, interpolation=method), normal(2, 12, 10, 3))
    assert output.shape == (2, 7, 13, 3)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: layers.Conv1D(4, 3, padding="causal", dilation_rate=2), (None, 8)),
        (lambda: layers.Conv1D(4, 3, padding="same", groups=2), (None, 8)),
        (lambda: layers.Conv1DTranspose(4, 3, strides=2), (None, 8)),
        (lambda: layers.SeparableConv1D(4, 3, padding="same"), (None, 8)),
        (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), (7, 6, 3)),
        (lambda: layers.Conv3D(2, 2, padding="same"), (None, 4, 4, 2)),
        (lambda: layers.ConvLSTM2D(2, 3, padding="same", return_sequences=True), (None, 5, 5, 2)),
        (lambda: layers.GroupNormalization(4), (None, 8)),
        (lambda: layers.AdaptiveAveragePooling1D(3), (20, 8)),
        (lambda: layers.UpSampling2D(2, interpolation="bilinear"), (5, 4, 3)),
        (lambda: layers.Normalization(mean=[0.5] * 8, variance=[2.0] * 8), (None, 8)),
        (lambda: layers.Discretization(bin_boundaries=[-1.0, 0.0, 1.0]), (None, 8)),
        (lambda: layers.MelSpectrogram(num_mel_bins=8, sampling_rate=800, sequence_stride=16, fft_length=64), (256,)),
    ],
)
def test_layers_equal_keras(tmp_path, layer, shape):
    manifest = tfseq.export(model_of(layer(), shape), tmp_path / "model.onnx")
    assert manifest.parity["passed"]
    assert manifest.parity["checks"][0]["worst_relative"] <= TOLERANCE


def test_a_convolutional_lstm_convolves_its_inputs_before_the_loop(tmp_path):
    layer = layers.ConvLSTM2D(2, 3, padding="same", return_sequences=True)
    manifest = tfseq.export(model_of(layer, (None, 5, 5, 2)), tmp_path / "model.onnx")
    assert manifest.operators["Conv"] == 2
    (loop,) = [n for n in onnx.load(tmp_path / "model.onnx").graph.node if n.op_type == "Loop"]
    assert count_operators(loop.attribute[0].g)["Conv"] == 1


@pytest.mark.parametrize("blank", [0, 2, -1])
def test_greedy_decoding_of_ctc(tmp_path, blank):
    def decode(x):
        lengths = ops.shape(x)[1] * ops.ones((ops.shape(x)[0],), "int32")
        return ops.ctc_decode(x, lengths, mask_index=blank)[0][0]

    x = normal(4, 12, 5)
    output, _ = run(tmp_path, decode, x, shape=("free", 5))
    for row, best in zip(output.tolist(), x.argmax(-1).tolist()):
        kept = [a for a, b in zip(best, [None, *best]) if a != b and a != blank % 5]
        assert row == kept + [-1] * (12 - len(kept))


def test_a_function_marked_for_xla_is_inlined(tmp_path):
    double = tf.function(lambda x: 2 * x, jit_compile=True)
    x = normal(2, 8)
    output, _ = run(tmp_path, double, x)
    assert np.allclose(output, 2 * x)


def test_a_variable_read_after_an_assignment_has_the_new_value():
    variable = tf.Variable(np.ones(8, "float32"))

    def function(x):
        before = tf.identity(variable)
        variable.assign(tf.range(8.0))
        variable.assign_add(before)
        return {"y": x * variable + before}

    model = to_onnx(function, [TensorSpec("x", "float32", ("batch", 8))], None)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    x = normal(2, 8)
    assert np.allclose(session.run(None, {"x": x})[0], x * (np.arange(8) + 1) + 1)
