"""`RecurrentTagger`: causality, masks, training, and step graphs against the whole graph."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import layers, ops

from tfseq.layers.convolutional import ConvolutionalEncoder
from tfseq.models import RecurrentTagger

CELLS = ["rnn", "irnn", "lstm", "gru"]
TOKENS = np.array([[3, 1, 4, 1, 5], [2, 6, 5, 0, 0]], "int32")
CLIPS = np.random.default_rng(0).integers(0, 256, (2, 6, 4, 5, 1)).astype("uint8")


def tagger(**options):
    keras.utils.set_random_seed(0)
    front = layers.Embedding(7, 3, mask_zero=True, name="front")
    model = RecurrentTagger(front, **{"classes": 4, "units": 5} | options)
    model(TOKENS)
    return with_weights_that_matter(model)


def of_clips(**options):
    front = ConvolutionalEncoder((3,), units=6, dtype=options.get("dtype"), name="front")
    model = RecurrentTagger(front, **{"classes": 3, "units": 5} | options)
    model(CLIPS)
    return with_weights_that_matter(model)


def with_weights_that_matter(model):
    draw = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(weight + draw.normal(0, 0.3, weight.shape))
    return model


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_every_answer_follows_the_lectures_equations():
    """h_t = tanh(W_hh h_{t-1} + W_xh x_t + b), y_t = softmax(W_hy h_t + b_y), at each t."""
    model = tagger(cell="rnn")
    answers = np.asarray(model(TOKENS[:1]))
    assert answers.shape == (1, 5, 4)
    table = np.asarray(model.front.embeddings)
    w_xh, w_hh, bias = (np.asarray(w) for w in model.recurrent[0].weights)
    w_hy, bias_y = (np.asarray(w) for w in model.head.weights)
    h = np.zeros(5)
    for t, token in enumerate(TOKENS[0]):
        h = np.tanh(h @ w_hh + table[token] @ w_xh + bias)
        np.testing.assert_allclose(answers[0, t], softmax(h @ w_hy + bias_y), atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_answers_do_not_depend_on_later_steps_nor_on_padding(cell):
    model = tagger(cell=cell, depth=2)
    answers = np.asarray(model(TOKENS))
    for length in (1, 3):
        np.testing.assert_allclose(model(TOKENS[:, :length]), answers[:, :length], atol=1e-6)
    wider = np.pad(TOKENS, [(0, 0), (0, 4)])
    np.testing.assert_allclose(np.asarray(model(wider))[:, :5], answers, atol=1e-6)


def test_in_both_directions_the_end_of_a_sequence_matters_and_padding_does_not():
    model = tagger(bidirectional=True)
    answers = np.asarray(model(TOKENS))
    assert np.abs(np.asarray(model(TOKENS[:, :3])) - answers[:, :3]).max() > 1e-3
    np.testing.assert_allclose(np.asarray(model(TOKENS[1:, :3])), answers[1:, :3], atol=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_a_file_that_reads_frame_by_frame_answers_as_one_that_reads_whole_clips(cell, tmp_path):
    pytest.importorskip("tensorflow")
    import tfseq

    model = of_clips(cell=cell, depth=2)
    expected = np.asarray(model(CLIPS))
    tfseq.export(model, tmp_path / "model.onnx", samples=CLIPS, verify=False)
    manifest = tfseq.export(model, tmp_path / "model.step.onnx", streaming=True, verify=False)
    assert len(manifest.states) == (4 if cell == "lstm" else 2)
    whole = tfseq.runtime.load(tmp_path / "model.onnx")
    assert [(spec.dtype, spec.shape) for spec in whole.manifest.inputs] == [("uint8", ("batch", "time", 4, 5, 1))]
    np.testing.assert_allclose(whole.predict(CLIPS), expected, atol=1e-5)
    steps = tfseq.runtime.load(tmp_path / "model.step.onnx")
    for ends in ([1, 2, 3, 4, 5, 6], [2, 6], [5, 6]):
        stream = steps.stream()
        answers = [stream.predict(CLIPS[:, begin:end]) for begin, end in zip([0, *ends], ends)]
        np.testing.assert_allclose(np.concatenate(answers, axis=1), expected, atol=1e-5)


def test_reading_in_both_directions_can_not_stream(tmp_path):
    pytest.importorskip("tensorflow")
    import tfseq

    with pytest.raises(tfseq.errors.ExportError, match="both_1 is bidirectional"):
        tfseq.export(of_clips(bidirectional=True), tmp_path / "model.step.onnx", streaming=True)
    assert not list(tmp_path.iterdir())


def test_remembering_is_learned():
    """The answer at each step is the token before: only the state holds it."""
    keras.utils.set_random_seed(0)
    draw = np.random.default_rng(0)
    tokens = draw.integers(0, 3, (256, 6)).astype("int32")
    before = np.pad(tokens, [(0, 0), (1, 0)])[:, :-1]
    model = RecurrentTagger(layers.Embedding(3, 4), classes=3, units=16, cell="gru")
    model.compile(keras.optimizers.Adam(0.03), "sparse_categorical_crossentropy", jit_compile=False)
    model.fit(tokens, before, batch_size=64, epochs=12, verbose=0)
    assert (np.argmax(model(tokens), -1) == before).mean() > 0.95


@pytest.mark.parametrize("make", [tagger, of_clips])
def test_a_saved_model_gives_the_same_answers(make, tmp_path):
    model = make(depth=2, bidirectional=True, dropout=0.3, dtype="mixed_bfloat16")
    inputs = TOKENS if make is tagger else CLIPS
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.settings == model.settings
    answers = model(inputs)
    assert answers.dtype == "float32"
    np.testing.assert_array_equal(again(inputs), answers)
    assert np.abs(ops.convert_to_numpy(model(inputs, training=True)) - np.asarray(answers)).max() > 1e-3


ON_JAX = """
import sys
import keras, numpy as np
import tfseq.models
assert keras.backend.backend() == "jax"
for name in ("tokens", "clips"):
    model = keras.models.load_model(f"{sys.argv[1]}/{name}.keras")
    np.save(f"{sys.argv[1]}/{name}.npy", model(np.load(f"{sys.argv[1]}/{name}_inputs.npy")))
"""


def test_jax_gives_the_answers_of_tensorflow(tmp_path, on_jax):
    expected = {}
    for name, model, inputs in (("tokens", tagger(depth=2), TOKENS), ("clips", of_clips(cell="gru"), CLIPS)):
        model.save(tmp_path / f"{name}.keras")
        np.save(tmp_path / f"{name}_inputs.npy", inputs)
        expected[name] = np.asarray(model(inputs))
    on_jax(ON_JAX, tmp_path)
    for name, answers in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), answers, atol=2e-5)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"classes": 1}, "classes is 1; expected at least 2"),
        ({"units": 0}, "units is 0; expected at least 1"),
        ({"cell": "elman"}, "expected one of rnn, irnn, lstm, gru"),
        ({"front": 3}, "front is 3; expected a Keras layer"),
    ],
)
def test_settings_that_make_no_model_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        RecurrentTagger(**{"front": layers.Embedding(7, 3), "classes": 4, "units": 5} | setting)
