"""Random numbers at inference: an input `seed` of the file chooses them, as it does where the model runs with it."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from scipy import stats

import tfseq
from tfseq.errors import ExportError
from tfseq.exporting import export, verify
from tfseq.runtime import load


class Sampling(layers.Layer):
    """A draw around a mean, as variational autoencoders make it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seed_generator = keras.random.SeedGenerator(7)

    def call(self, x):
        return x + ops.exp(0.5 * x * 0) * keras.random.normal(ops.shape(x), seed=self.seed_generator)


class Function(layers.Layer):
    def __init__(self, function, **options):
        super().__init__(**options)
        self.function = function

    def call(self, x):
        return self.function(x)


def exported(path, layer, shape=(3,)):
    x = keras.Input(shape, name="x")
    return export(keras.Model(x, layer(x)), path / "model.onnx")


def test_a_sampling_layer_draws_from_the_seed(tmp_path):
    x = keras.Input((3,), name="x")
    layer = Sampling(name="z")
    model = keras.Model(x, layer(x))
    manifest = export(model, tmp_path / "model.onnx", samples=[np.ones((2, 3), "float32")])
    assert [spec.name for spec in manifest.inputs] == ["x", "seed"]
    assert "The layer z (Sampling) draws random numbers" in manifest.notes[0]
    assert verify(tmp_path / "model.onnx", model).passed
    file, values = load(tmp_path / "model.onnx"), np.zeros((500, 3), "float32")
    first, again, other = (file.predict(x=values, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.isclose(first, other).any(axis=None, where=first == other)
    assert (first != other).mean() > 0.99
    assert layer.seed_generator.state.numpy().tolist()[0] == 7  # the model's own numbers go on as they were


DISTRIBUTIONS = {
    "uniform": (lambda s: keras.random.uniform(s, -1, 3), stats.uniform(-1, 4).cdf),
    "normal": (lambda s: tf.random.normal(s, 2.0, 3.0), stats.norm(2, 3).cdf),
    "truncated": (lambda s: keras.random.truncated_normal(s, 1.0, 2.0), stats.truncnorm(-2, 2, 1, 2).cdf),
}


def test_draws_follow_their_distributions_and_not_each_other(tmp_path):
    """All of them in one layer, and each twice."""

    def draws(x):
        shape = ops.shape(x)
        found = [draw(shape) for draw, _ in DISTRIBUTIONS.values() for _ in range(2)]
        found.append(ops.cast(keras.random.randint(shape, 5, 9), "float32"))
        found.append(keras.random.dropout(ops.ones_like(x), 0.25))
        found.append(tf.nn.dropout(tf.ones_like(x), 0.5, noise_shape=[tf.shape(x)[0], 1]))
        logits = tf.math.log(tf.constant([[0.2, 0.5, 0.3]])) + 0 * x[:, :1]
        found.append(ops.cast(keras.random.categorical(logits, 4), "float32"))
        return ops.stack(found, 1)

    exported(tmp_path, Function(draws), shape=(4,))
    y = load(tmp_path / "model.onnx").predict(x=np.zeros((2000, 4), "float32"), seed=5)  # (batch, draws, 4)
    for i, (_, cdf) in enumerate(DISTRIBUTIONS.values()):
        for j in (2 * i, 2 * i + 1):
            assert stats.kstest(y[:, j].ravel(), cdf).pvalue > 1e-3
        assert abs(np.corrcoef(y[:, 2 * i].ravel(), y[:, 2 * i + 1].ravel())[0, 1]) < 0.05
        assert abs(np.corrcoef(y[:, 2 * i, 0], y[:, 2 * i, 1])[0, 1]) < 0.1
    counts = np.bincount(y[:, 6].ravel().astype(int), minlength=9)[5:]
    assert stats.chisquare(counts).pvalue > 1e-3
    assert np.isclose((y[:, 7] > 0).mean(), 0.75, atol=0.02)
    assert set(np.unique(y[:, 7])) == {np.float32(0), np.float32(1 / 0.75)}
    assert (y[:, 8] == y[:, 8, :1]).all()
    assert np.isclose((y[:, 8] > 0).mean(), 0.5, atol=0.05)
    shares = np.bincount(y[:, 9].ravel().astype(int)) / y[:, 9].size
    assert np.allclose(shares, [0.2, 0.5, 0.3], atol=0.03)


def test_dropout_that_ignores_training_is_named(tmp_path):
    x = keras.Input((3,), name="seed")  # the name is taken
    always = layers.Dropout(0.5, name="always")
    model = keras.Model(x, Function(lambda x: always(x, training=True))(x))
    manifest = export(model, tmp_path / "model.onnx")
    assert [spec.name for spec in manifest.inputs] == ["seed", "random_seed"]
    assert "always (Dropout)" in manifest.notes[0]
    assert "training" in manifest.notes[0]


def test_layers_that_draw_in_training_alone_take_no_seed(tmp_path):
    stack = keras.Sequential([layers.Dropout(0.5), layers.GaussianNoise(1.0), layers.Dense(2)])
    manifest = exported(tmp_path, stack)
    assert [spec.name for spec in manifest.inputs] == ["x"]
    assert manifest.notes == ()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x + keras.random.gamma((3,), 2.0), r"The layer drawing \(Function\).*gamma"),
        (
            lambda x: tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y + tf.random.normal((3,))), (0, x))[1],
            r"The layer drawing \(Function\).*loop",
        ),
    ],
)
def test_what_can_not_be_drawn_is_refused_by_layer(function, message, tmp_path):
    with pytest.raises(ExportError, match=message):
        exported(tmp_path, Function(function, name="drawing"))


def test_random_numbers_need_an_opset_that_has_them(tmp_path):
    x = keras.Input((3,))
    with pytest.raises(tfseq.errors.ExportError, match="random numbers need 18"):
        export(keras.Model(x, Sampling()(x)), tmp_path / "model.onnx", opset=17)


def test_numbers_that_are_drawn_and_not_used_need_no_seed(tmp_path):
    class Doubled(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    x = keras.Input((None, 3), name="x")
    y = keras.layers.Bidirectional(keras.layers.GRU(4, recurrent_dropout=0.3, dropout=0.2))(x)
    manifest = export(keras.Model(x, Doubled()(y)), tmp_path / "model.onnx")
    assert [spec.name for spec in manifest.inputs] == ["x"]
    assert manifest.parity["passed"]
