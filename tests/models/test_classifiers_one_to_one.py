"""Dense and convolutional classifiers, against NumPy and logistic regression, on JAX, and exported."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import tfseq
from tfseq.models import ConvolutionalClassifier, DenseClassifier

RANDOM = np.random.default_rng(0)
NUMBERS = (RANDOM.normal(size=(40, 3)) * [1.0, 10.0, 300.0] + [0.0, 50.0, 4000.0]).astype("float32")
IMAGES = RANDOM.integers(0, 256, (5, 8, 9, 2)).astype("uint8")


def dense(**options):
    keras.utils.set_random_seed(1)
    model = DenseClassifier(**{"hidden": (4, 3)} | options)
    model.normalize.adapt(NUMBERS)
    model(NUMBERS)
    return model


def convolutional(**options):
    keras.utils.set_random_seed(1)
    model = ConvolutionalClassifier(**{"classes": 3, "filters": (3, 4), "units": 6} | options)
    model(IMAGES)
    return model


MODELS = {"dense": (dense, NUMBERS), "convolutional": (convolutional, IMAGES)}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_the_dense_classifier_is_its_equation():
    model = dense()
    x = (NUMBERS - NUMBERS.mean(0)) / NUMBERS.std(0)
    for layer in model.hidden:
        kernel, bias = layer.get_weights()
        x = np.tanh(x @ kernel + bias)
    kernel, bias = model.head.get_weights()
    np.testing.assert_allclose(model(NUMBERS), sigmoid(x @ kernel + bias), atol=1e-5)


def test_without_hidden_layers_it_learns_logistic_regression():
    linear = pytest.importorskip("sklearn.linear_model")
    targets = ((NUMBERS[:, 0] + RANDOM.normal(size=40)) > 0).astype("int32")
    model = dense(hidden=())
    model.compile(keras.optimizers.SGD(1.0), "binary_crossentropy", jit_compile=False)
    repeated = np.tile(NUMBERS, (300, 1)), np.tile(targets[:, None], (300, 1))
    model.fit(*repeated, batch_size=40, shuffle=False, verbose=0)
    standard = (NUMBERS - NUMBERS.mean(0)) / NUMBERS.std(0)
    peer = linear.LogisticRegression(C=1e6).fit(standard, targets)  # C: nearly no regularization
    np.testing.assert_allclose(model(NUMBERS)[:, 0], peer.predict_proba(standard)[:, 1], atol=0.01)


def test_the_convolutional_classifier_is_a_softmax_of_the_encoders_vector():
    model = convolutional()
    kernel, bias = model.head.get_weights()
    scores = np.exp(np.asarray(model.encoder(IMAGES)) @ kernel + bias)
    np.testing.assert_allclose(model(IMAGES), scores / scores.sum(1, keepdims=True), atol=1e-5)


def test_kernels_stride_padding_and_pool_reach_the_encoder():
    options = {"kernel_size": 2, "stride": 2, "padding": "valid", "pool": 1, "convolutions": 2, "filters": (5,)}
    config = convolutional(**options).encoder.get_config()
    assert {name: config[name] for name in options} == options | {"filters": [5]}


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_model_gives_the_same_probabilities(name, tmp_path):
    make, x = MODELS[name]
    model = make(dropout=0.3)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.get_config() == model.get_config()
    np.testing.assert_array_equal(again(x), model(x))


@pytest.mark.parametrize("name", MODELS)
def test_dropout_acts_in_training_only(name):
    make, x = MODELS[name]
    model = make(dropout=0.5)
    assert np.abs(np.asarray(model(x, training=True)) - np.asarray(model(x, training=True))).max() > 1e-3
    np.testing.assert_array_equal(model(x), model(x))


@pytest.mark.parametrize("name", MODELS)
def test_mixed_precision_keeps_weights_and_probabilities_in_float32(name):
    make, x = MODELS[name]
    exact, mixed = make(), make(dtype="mixed_bfloat16")
    assert mixed(x).dtype == "float32"
    assert {weight.dtype for weight in mixed.weights if "count" not in weight.path} == {"float32"}
    np.testing.assert_allclose(mixed(x), exact(x), atol=0.05)


def test_a_file_takes_numbers_and_pixels_as_they_are_and_names_the_class(tmp_path):
    model = dense()
    tfseq.export(model, tmp_path / "dense.onnx", labels=["normal", "high"])
    answers = tfseq.runtime.load(tmp_path / "dense.onnx").classify(NUMBERS)
    high = np.asarray(model(NUMBERS))[:, 0]
    assert [answer.name for answer in answers] == ["high" if p > 0.5 else "normal" for p in high]
    model = convolutional(dtype="mixed_bfloat16")
    manifest = tfseq.export(model, tmp_path / "images.onnx", labels=["a", "b", "c"], samples=[IMAGES])
    assert manifest.inputs[0].dtype == "uint8"
    answers = tfseq.runtime.load(tmp_path / "images.onnx").classify(IMAGES)
    assert len(answers) == 5


ON_JAX = """
import sys
import keras, numpy as np
import tfseq.models
assert keras.backend.backend() == "jax"
for name in sys.argv[2:]:
    model = keras.models.load_model(f"{sys.argv[1]}/{name}.keras")
    np.save(f"{sys.argv[1]}/{name}.npy", model(np.load(f"{sys.argv[1]}/{name}_inputs.npy")))
"""


def test_jax_gives_the_probabilities_of_tensorflow(tmp_path, on_jax):
    expected = {}
    for name, (make, x) in MODELS.items():
        model = make()
        model.save(tmp_path / f"{name}.keras")
        np.save(tmp_path / f"{name}_inputs.npy", x)
        expected[name] = np.asarray(model(x))
    on_jax(ON_JAX, tmp_path, *MODELS)
    for name, probabilities in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), probabilities, atol=2e-5, err_msg=name)


def test_hyper_parameters_that_can_not_be_are_refused():
    with pytest.raises(ValueError, match="hidden layer 2 is 0; expected at least 1"):
        DenseClassifier(hidden=(3, 0))
    with pytest.raises(ValueError, match="classes is 1; expected at least 2"):
        ConvolutionalClassifier(classes=1)
    with pytest.raises(ValueError, match="padding is 'full'"):
        ConvolutionalClassifier(classes=2, padding="full")
