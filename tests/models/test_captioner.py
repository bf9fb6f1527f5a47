"""The four captioning systems: `call` against `step`, grids, exported files with captions and attention."""

import functools
import json
import os

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import ops

import tfseq
from tfseq.decoding import generate
from tfseq.errors import ExportError, InputError
from tfseq.layers.caption_decoders import AttentionCaptionDecoder, RecurrentCaptionDecoder, TransformerCaptionDecoder
from tfseq.layers.convolutional import ConvolutionalEncoder
from tfseq.layers.key_value_cache import reorder, widen
from tfseq.layers.vision import VisionEncoder
from tfseq.models import Captioner

VOCABULARY, STEPS = 7, 5
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 8, 12, 3)).astype("uint8")
TARGET = np.array([[1, 3, 4, 5, 6], [1, 6, 6, 2, 0], [1, 4, 4, 4, 2]], "int32")
INPUTS = {"image": IMAGES, "target": TARGET}


def cnn(dtype):
    return ConvolutionalEncoder((3, 4), grid=True, dtype=dtype, name="encoder")


def vit(dtype):
    return VisionEncoder(4, 8, heads=2, depth=1, class_token=False, dtype=dtype, name="encoder")


def recurrent(dtype, **options):
    return RecurrentCaptionDecoder(**{"units": 6, "dtype": dtype} | options)


def attention(dtype, **options):
    return AttentionCaptionDecoder(**{"units": 6, "dtype": dtype} | options)


def transformer(dtype, **options):
    return TransformerCaptionDecoder(**{"units": 8, "heads": 2, "dtype": dtype} | options)


SYSTEMS = {
    **{f"cnn + {cell}": (cnn, recurrent, {"cell": cell}) for cell in ("rnn", "irnn", "lstm", "gru")},
    "cnn + two lstm of the mean": (cnn, recurrent, {"cell": "lstm", "depth": 2, "summary": "mean"}),
    "cnn + gru of all places": (cnn, recurrent, {"summary": "flat", "width": 5}),
    **{f"cnn + {cell} + attention": (cnn, attention, {"cell": cell}) for cell in ("rnn", "irnn", "lstm", "gru")},
    "cnn + two lstm + dot attention": (cnn, attention, {"cell": "lstm", "depth": 2, "alignment": "dot"}),
    "cnn + gru + general attention": (cnn, attention, {"alignment": "general"}),
    "cnn + gru + cosine attention": (cnn, attention, {"alignment": "cosine"}),
    "cnn + transformer": (cnn, transformer, {}),
    "cnn + transformer, post": (cnn, transformer, {"norm": "post", "depth": 1}),
    "vit + transformer": (vit, transformer, {}),
}
ATTENTIVE = [name for name in SYSTEMS if "attention" in name or "transformer" in name]
FOUR = ("cnn + gru", "cnn + gru + attention", "cnn + transformer", "vit + transformer")


@functools.cache
def made(name, dtype="float32", **options):
    """One for all tests, which leave its weights alone."""
    keras.utils.set_random_seed(1)
    encoder, decoder, decoder_options = SYSTEMS[name]
    parts = encoder(dtype), decoder(dtype, **decoder_options)
    model = Captioner(*parts, IMAGES.shape[1:], VOCABULARY, **{"dtype": dtype} | options)
    model(INPUTS)
    rng = np.random.default_rng(0)
    for weight in model.weights:  # biases and norms too, so that none is neutral
        if "seed" not in weight.path:
            weight.assign(weight + rng.uniform(-0.1, 0.3, weight.shape))
    return model


def logits_of_steps(model, tokens=TARGET, images=IMAGES, width=1):
    memory = model.encode(ops.convert_to_tensor(images))
    state = widen(model.initial_state(memory, len(tokens) // width), width)
    logits = []
    for column in tokens.T:
        new, state = model.step(ops.convert_to_tensor(column), state, memory)
        logits.append(np.asarray(new))
    return np.stack(logits, axis=1)  # (rows, time, vocabulary)


@pytest.mark.parametrize("name", SYSTEMS)
def test_steps_give_the_logits_of_the_parallel_call_at_every_position(name):
    model = made(name)
    expected = np.asarray(model(INPUTS))
    assert expected.shape == (3, STEPS, VOCABULARY)
    np.testing.assert_allclose(logits_of_steps(model), expected, atol=2e-5)


@pytest.mark.parametrize("options", [{"embedding_dim": 5}, {"tied": True}])
def test_words_can_be_narrower_or_make_the_logits_too(options):
    model = made("cnn + gru + attention", **options)
    expected = np.asarray(model(INPUTS))
    np.testing.assert_allclose(logits_of_steps(model), expected, atol=2e-5)
    table = np.asarray(model.embedding.embeddings)
    if "tied" in options:
        memory = model.encode(IMAGES)
        x = model.decoder(table[TARGET] * 6**0.5, memory)
        np.testing.assert_allclose(np.asarray(x) @ table.T, expected, atol=1e-5)


@pytest.mark.parametrize("name", FOUR)
def test_words_before_and_the_image_matter_and_words_after_do_not(name):
    model = made(name)
    expected = np.asarray(model(INPUTS))
    later = TARGET.copy()
    later[:, 3:] = 3 + later[:, 3:] % 4
    after = np.asarray(model(INPUTS | {"target": later}))
    np.testing.assert_allclose(after[:, :3], expected[:, :3], atol=1e-6)
    assert np.abs(after[:, 3:] - expected[:, 3:]).max() > 1e-3
    others = np.asarray(model(INPUTS | {"image": 255 - IMAGES}))
    assert (np.abs(others - expected).max((0, 2)) > 1e-4).all()  # at every step


@pytest.mark.parametrize("name", FOUR)
def test_what_is_where_matters(name):
    model = made(name)
    mirrored = np.asarray(model(INPUTS | {"image": IMAGES[:, :, ::-1].copy()}))
    assert np.abs(mirrored - np.asarray(model(INPUTS))).max() > 1e-3


@pytest.mark.parametrize("name", ATTENTIVE)
def test_weights_sum_to_one_over_the_grid(name):
    model = made(name)
    assert model.has_attention
    memory = model.encode(ops.convert_to_tensor(IMAGES))
    state, tokens = model.initial_state(memory, 3), ops.convert_to_tensor(TARGET[:, 0])
    logits, _, weights = model.step_with_attention(tokens, state, memory)
    np.testing.assert_allclose(logits, model.step(tokens, state, memory)[0], atol=1e-6)
    weights, (rows, columns) = np.asarray(weights), model.grid
    assert (rows, columns) == (2, 3)
    assert weights.dtype == "float32"
    assert weights.shape == (3, rows * columns)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", FOUR)
def test_beams_share_a_memory_and_go_on_from_each_other(name):
    """Every beam is fed its own words, takes over another's past, and is compared with a batch of its own."""
    model, width = made(name), 2
    rng = np.random.default_rng(3)
    parents = rng.integers(0, width, (4, 3, width)).astype("int32")
    tokens = rng.integers(1, VOCABULARY, (4, 3 * width)).astype("int32")
    memory = model.encode(ops.convert_to_tensor(IMAGES))
    state, past = widen(model.initial_state(memory, 3), width), np.zeros((3 * width, 0), "int32")
    for t in range(4):
        past = np.concatenate([past, tokens[t][:, None]], axis=1)
        logits, state = model.step(ops.convert_to_tensor(tokens[t]), state, memory)
        expected = model({"image": IMAGES.repeat(width, axis=0), "target": past})[:, -1]
        np.testing.assert_allclose(logits, expected, atol=2e-5)
        state = reorder(state, ops.convert_to_tensor(parents[t]))
        past = past[(parents[t] + np.arange(3)[:, None] * width).ravel()]


def test_features_stand_for_images():
    model = made("cnn + gru + attention")
    features = model.features(IMAGES)
    assert features.shape == (3, 2, 3, 4)
    expected = model(INPUTS)
    np.testing.assert_allclose(model({"features": features, "target": TARGET}), expected, atol=1e-6)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_saved_model_gives_the_same_logits(name, tmp_path):
    model = made(name, dropout=0.3)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert json.loads(json.dumps(again.get_config())) == json.loads(json.dumps(model.get_config()))
    np.testing.assert_array_equal(again(INPUTS), model(INPUTS))


@pytest.mark.parametrize("name", FOUR)
def test_mixed_precision_keeps_weights_and_logits_in_float32(name):
    exact, mixed = made(name), made(name, "mixed_bfloat16")
    logits = mixed(INPUTS)
    assert logits.dtype == "float32"
    assert {weight.dtype for weight in mixed.weights} == {"float32"}
    np.testing.assert_allclose(logits_of_steps(mixed), logits, atol=0.1)
    np.testing.assert_allclose(logits, exact(INPUTS), atol=0.3)


def test_dropout_acts_in_training_only():
    model = made("cnn + gru", dropout=0.5)
    first, second = model(INPUTS, training=True), model(INPUTS, training=True)
    assert np.abs(np.asarray(first) - np.asarray(second)).max() > 1e-3
    np.testing.assert_array_equal(model(INPUTS), model(INPUTS))


STRATEGIES = [tfseq.Greedy(), tfseq.Beam(3), tfseq.Sample(temperature=0.8, seed=3), tfseq.Beam(2, length_penalty=0.5)]


@pytest.mark.parametrize(("name", "strategy"), list(zip(FOUR, STRATEGIES)))
def test_a_file_writes_what_keras_writes_and_returns_attention_weights(name, strategy, tmp_path):
    model = made(name)
    attention = model.has_attention
    path = tmp_path / "captioner.onnx"
    manifest = tfseq.export(model, path, decode=strategy, attention=attention, samples=[IMAGES])
    assert str(manifest.inputs[0]) == "image uint8 (batch, 8, 12, 3)"
    assert manifest.parity["passed"]
    settings = {spec.name: np.asarray(strategy.settings[spec.name], spec.dtype) for spec in manifest.inputs[2:]}
    got = tfseq.runtime.load(path).run({"image": IMAGES, "max_length": np.asarray(9, "int32")} | settings)
    expected = generate(model, source=IMAGES, decode=strategy, max_length=9, return_attention=attention)
    np.testing.assert_array_equal(got["tokens"], expected.tokens)
    np.testing.assert_array_equal(got["lengths"], expected.lengths)
    np.testing.assert_allclose(got["scores"], expected.scores, rtol=1e-4)
    if attention:
        assert str(manifest.outputs[3]) == "attention float32 (batch, new_time, 6)"
        for i, length in enumerate(got["lengths"]):
            np.testing.assert_allclose(got["attention"][i, :length], expected.attention[i, :length], atol=1e-5)


def test_one_vector_gives_no_attention(tmp_path):
    model = made("cnn + gru")
    assert not model.has_attention
    with pytest.raises(ExportError, match="Captioner has no attention to give out"):
        tfseq.export(model, tmp_path / "captioner.onnx", decode=tfseq.Greedy(), attention=True)
    with pytest.raises(InputError, match="Captioner has no attention to return"):
        generate(model, source=IMAGES, max_length=3, return_attention=True)
    memory = model.encode(ops.convert_to_tensor(IMAGES))
    state = model.initial_state(memory, 3)
    with pytest.raises(TypeError, match="RecurrentCaptionDecoder sees one vector"):
        model.step_with_attention(ops.ones(3, "int32"), state, memory)


@pytest.mark.parametrize("name", [FOUR[0], *(pytest.param(name, marks=pytest.mark.slow) for name in FOUR[1:])])
def test_where_a_light_is_is_learned(name):
    """A bright patch in one of six places, named by its row and column: 25 epochs of 32 images."""
    row, column = np.divmod(np.arange(96) % 6, 3)
    images = np.random.default_rng(0).integers(0, 60, (96, 8, 12, 3)).astype("uint8")
    for image, i, j in zip(images, row, column):
        image[4 * i : 4 * i + 4, 4 * j : 4 * j + 4] += 190
    captions = np.stack([np.ones(96), 3 + row, 4 + column, np.full(96, 2)], axis=1).astype("int32")
    keras.utils.set_random_seed(0)
    dtype = "float32"
    encoder = ConvolutionalEncoder((6, 6), grid=True) if "cnn" in name else vit(dtype)
    make = {"cnn + gru": recurrent, "cnn + gru + attention": attention}.get(name, transformer)
    model = Captioner(encoder, make(dtype, units=16), (8, 12, 3), VOCABULARY)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss, jit_compile=False)
    x = {"image": images, "target": captions[:, :-1]}
    losses = model.fit(x, captions[:, 1:], batch_size=32, epochs=25, verbose=0).history["loss"]
    assert losses[0] > 0.7
    assert losses[-1] < 0.3


ON_JAX = """
import sys
sys.path.insert(0, sys.argv[2])
import keras, numpy as np, test_captioner as common
from tfseq.layers.key_value_cache import capacity
assert keras.backend.backend() == "jax"
for i, name in enumerate(common.SYSTEMS):
    model = keras.models.load_model(f"{sys.argv[1]}/{i}.keras")
    np.save(f"{sys.argv[1]}/{i}.npy", model(common.INPUTS))
    with capacity(common.STEPS):
        np.save(f"{sys.argv[1]}/{i}_steps.npy", common.logits_of_steps(model))
"""


def test_jax_gives_the_logits_of_tensorflow(tmp_path, on_jax):
    expected = []
    for i, name in enumerate(SYSTEMS):
        model = made(name)
        model.save(tmp_path / f"{i}.keras")
        expected.append(np.asarray(model(INPUTS)))
    on_jax(ON_JAX, tmp_path, os.path.dirname(__file__))
    for i, logits in enumerate(expected):
        np.testing.assert_allclose(np.load(tmp_path / f"{i}.npy"), logits, atol=2e-5)
        np.testing.assert_allclose(np.load(tmp_path / f"{i}_steps.npy"), logits, atol=2e-5)


def test_a_grid_is_that_of_the_image():
    tall = Captioner(vit("float32"), transformer("float32"), (12, 4, 3), VOCABULARY)
    assert tall.grid == (3, 1)
    with_token = VisionEncoder(4, 8, heads=2, depth=1)
    model = Captioner(with_token, transformer("float32"), (8, 12, 3), VOCABULARY)
    with pytest.raises(ValueError, match="sees 7 places in images of 8 x 12 pixels, which make no grid"):
        assert model.grid


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": None}, "encoder is None; expected a Keras layer"),
        ({"decoder": "gru"}, "decoder is 'gru'; expected a Keras layer"),
        ({"decoder": keras.layers.GRU(8)}, "expected one of tfseq.layers.caption_decoders"),
        ({"vocabulary_size": 0}, "vocabulary_size is 0; expected at least 1"),
        ({"embedding_dim": 0}, "embedding_dim is 0; expected at least 1"),
        ({"embedding_dim": 4, "tied": True}, "embedding_dim is 4 and the decoder's units 6; expected equal widths"),
        ({"encoder": ConvolutionalEncoder((3,))}, r"features have the shape \(None, 3\); expected"),
        ({"decoder": TransformerCaptionDecoder(8, 2), "embedding_dim": 4}, "embedding_dim is 4 and the decoder's"),
    ],
)
def test_parts_that_can_not_be_are_refused(change, message):
    parts = {"encoder": cnn("float32"), "decoder": recurrent("float32"), "image_shape": (8, 12, 3)}
    with pytest.raises(ValueError, match=message):
        Captioner(**parts | {"vocabulary_size": VOCABULARY} | change).build()
