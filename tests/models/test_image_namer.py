"""`ImageNamer`: the image at the first step, zeros later, and that no token is fed back."""

import json
import os

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import ops

import tfseq
from tfseq.decoding import generate
from tfseq.layers.convolutional import ConvolutionalEncoder
from tfseq.layers.key_value_cache import widen
from tfseq.models import ImageNamer
from tfseq.runtime import CharacterTokenizer

CELLS = ("rnn", "irnn", "lstm", "gru")
VOCABULARY, STEPS = 7, 5
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 8, 6, 1)).astype("uint8")
TARGET = np.array([[1, 3, 4, 5, 6], [1, 6, 6, 2, 0], [1, 4, 4, 4, 2]], "int32")
INPUTS = {"image": IMAGES, "target": TARGET}


def made(dtype="float32", images=IMAGES, **options):
    keras.utils.set_random_seed(1)
    encoder = ConvolutionalEncoder((3, 4), units=5, dtype=dtype, name="encoder")
    model = ImageNamer(encoder, images.shape[1:], VOCABULARY, **{"units": 6, "dtype": dtype} | options)
    model({"image": images, "target": TARGET})
    rng = np.random.default_rng(0)
    for weight in model.weights:  # biases and norms too, so that none is neutral
        if "seed" not in weight.path:
            weight.assign(weight + rng.uniform(0, 0.4, weight.shape))
    return model


def logits_of_steps(model, tokens=TARGET, width=1):
    memory = model.encode(ops.convert_to_tensor(IMAGES))
    state = widen(model.initial_state(memory, len(tokens) // width), width)
    logits = []
    for column in tokens.T:
        new, state = model.step(ops.convert_to_tensor(column), state, memory)
        logits.append(np.asarray(new))
    return np.stack(logits, axis=1)  # (rows, time, vocabulary)


def test_a_vanilla_namer_is_the_lectures_equation():
    model = made(cell="rnn")
    w_x, w_h, b = model.recurrent[0].get_weights()
    w_y, b_y = model.head.get_weights()
    x = np.asarray(model.encoder(IMAGES))
    h = np.zeros((3, 6))
    expected = []
    for t in range(STEPS):
        h = np.tanh((x if t == 0 else np.zeros_like(x)) @ w_x + h @ w_h + b)
        expected.append(h @ w_y + b_y)
    np.testing.assert_allclose(model(INPUTS), np.stack(expected, axis=1), atol=1e-5)


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_steps_give_the_logits_of_the_parallel_call_at_every_position(cell, depth):
    model = made(cell=cell, depth=depth)
    expected = np.asarray(model(INPUTS))
    assert expected.shape == (3, STEPS, VOCABULARY)
    np.testing.assert_allclose(logits_of_steps(model), expected, atol=2e-5)


def test_what_was_written_is_not_read():
    model = made()
    other = INPUTS | {"target": TARGET[::-1] + 0}
    np.testing.assert_array_equal(model(other), model(INPUTS))
    np.testing.assert_array_equal(logits_of_steps(model, TARGET[::-1]), logits_of_steps(model))


def test_the_image_matters_at_every_step():
    model = made()
    other = np.asarray(model(INPUTS | {"image": 255 - IMAGES}))
    assert (np.abs(other - np.asarray(model(INPUTS))).max((0, 2)) > 1e-3).all()


def test_beams_share_the_memory():
    model, width = made(cell="lstm"), 2
    assert model.shares_memory
    tokens = TARGET.repeat(width, axis=0)
    np.testing.assert_allclose(logits_of_steps(model, tokens, width)[::width], logits_of_steps(model), atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_a_saved_model_gives_the_same_logits(cell, tmp_path):
    model = made(cell=cell, dropout=0.3)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert json.loads(json.dumps(again.get_config())) == json.loads(json.dumps(model.get_config()))
    np.testing.assert_array_equal(again(INPUTS), model(INPUTS))


def test_mixed_precision_keeps_weights_and_logits_in_float32():
    exact, mixed = made(), made("mixed_bfloat16")
    logits = mixed(INPUTS)
    assert logits.dtype == "float32"
    assert {weight.dtype for weight in mixed.weights} == {"float32"}
    np.testing.assert_allclose(logits_of_steps(mixed), logits, atol=0.05)
    np.testing.assert_allclose(logits, exact(INPUTS), atol=0.1)


def test_dropout_acts_in_training_only():
    model = made(dropout=0.5)
    first, second = model(INPUTS, training=True), model(INPUTS, training=True)
    assert np.abs(np.asarray(first) - np.asarray(second)).max() > 1e-3
    np.testing.assert_array_equal(model(INPUTS), model(INPUTS))


TOKENIZER = CharacterTokenizer(["<pad>", "<unk>", "<start>", "<end>", "d", "k", "r"])


def learned():
    """A namer of dark and bright images, trained for a moment."""
    random = np.random.default_rng(0)
    labels = np.arange(64) % 2
    images = (random.integers(0, 100, (64, 8, 6, 1)) + 150 * labels[:, None, None, None]).astype("uint8")
    names = np.array([[4, 6, 5, 3], [5, 4, 3, 0]], "int32")[labels]  # "drk", "kd", then the end
    keras.utils.set_random_seed(0)
    encoder = ConvolutionalEncoder((3,), units=8, name="encoder")
    model = ImageNamer(encoder, (8, 6, 1), TOKENIZER.vocabulary_size, units=16, start=2, end=3)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")
    model.compile(keras.optimizers.Adam(0.02), loss, jit_compile=False)
    weights = (names != 0).astype("float32")
    model.fit({"image": images, "target": names}, names, sample_weight=weights, batch_size=16, epochs=20, verbose=0)
    return model, images, np.where(labels == 1, "kd", "drk")


def test_names_are_learned_and_written_by_the_file(tmp_path):
    model, images, names = learned()
    written = generate(model, source=images, max_length=5)
    texts = [TOKENIZER.decode(row[:n]) for row, n in zip(np.asarray(written.tokens), np.asarray(written.lengths))]
    assert (np.array(texts) == names).mean() > 0.9
    for decode in (tfseq.Greedy(), tfseq.Beam(3)):
        manifest = tfseq.export(model, tmp_path / "namer.onnx", decode=decode, tokenizer=TOKENIZER, samples=[images])
        assert (manifest.inputs[0].name, manifest.inputs[0].dtype) == ("image", "uint8")
        file = tfseq.runtime.load(tmp_path / "namer.onnx")
        assert file.generate(images, max_length=5) == texts
    assert file.generate(images[:1], max_length=5) == texts[:1]


def test_a_file_writes_a_name_character_by_character(tmp_path):
    """The image is seen in the first step only: convolutions in a branch of the graph."""
    manifest = tfseq.export(made(), tmp_path / "namer.step.onnx", decode=tfseq.Greedy(), streaming=True)
    assert manifest.parity["passed"]
    (check,) = [check for check in manifest.parity["checks"] if check["name"] == "tokens"]
    assert check["identical"] == check["sequences"] > 100


ON_JAX = """
import sys
sys.path.insert(0, sys.argv[2])
import keras, numpy as np, test_image_namer as common
assert keras.backend.backend() == "jax"
for cell in common.CELLS:
    model = keras.models.load_model(f"{sys.argv[1]}/{cell}.keras")
    np.save(f"{sys.argv[1]}/{cell}.npy", model(common.INPUTS))
    np.save(f"{sys.argv[1]}/{cell}_steps.npy", common.logits_of_steps(model))
"""


def test_jax_gives_the_logits_of_tensorflow(tmp_path, on_jax):
    expected = {}
    for cell in CELLS:
        model = made(cell=cell)
        model.save(tmp_path / f"{cell}.keras")
        expected[cell] = np.asarray(model(INPUTS))
    on_jax(ON_JAX, tmp_path, os.path.dirname(__file__))
    for cell, logits in expected.items():
        for name in (cell, f"{cell}_steps"):
            np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), logits, rtol=1e-5, atol=2e-5)


def test_hyper_parameters_that_can_not_be_are_refused():
    with pytest.raises(ValueError, match="encoder is None; expected a Keras layer"):
        ImageNamer(None, (8, 8, 1), VOCABULARY)
    with pytest.raises(ValueError, match="units is 0; expected at least 1"):
        made(units=0)
    with pytest.raises(ValueError, match="cell is 'cnn'; expected one of"):
        made(cell="cnn")
