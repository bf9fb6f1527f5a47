"""`TransformerClassifier` and `VisionTransformer`: padding is masked, and exported files agree with Keras."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

import tfseq
from tfseq.models import TransformerClassifier, VisionTransformer

DRAW = np.random.default_rng(0)
TOKENS = DRAW.integers(1, 11, (3, 7)).astype("int32")
IMAGES = DRAW.integers(0, 256, (3, 8, 8, 3), np.uint8)


def text_model(**changes):
    return randomized(TransformerClassifier(11, 3, **{"units": 8, "heads": 2} | changes), TOKENS)


def image_model():
    return randomized(VisionTransformer(4, patch_size=4, units=8, heads=2, depth=2), IMAGES)


def randomized(model, inputs):
    model(inputs)
    draw = np.random.default_rng(1)
    model.set_weights([draw.normal(0, 0.5, weight.shape) for weight in model.get_weights()])
    return model


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_padding_changes_no_answer(positions):
    model = text_model(positions=positions, max_positions=20)
    padded = np.concatenate([TOKENS, np.zeros((3, 5), "int32")], axis=1)
    np.testing.assert_allclose(np.asarray(model(padded)), np.asarray(model(TOKENS)), atol=1e-5)


def test_order_counts():
    model = text_model()
    assert np.abs(np.asarray(model(TOKENS[:, ::-1])) - np.asarray(model(TOKENS))).max() > 1e-3


def test_lost_tokens_are_lost_whole_and_only_while_training():
    """Blocks and norms aside, a token is zeroed with its position, or all of it is scaled up."""
    model = text_model(lost_tokens=0.5, dropout=0.0)
    whole = np.asarray(model.embedding(TOKENS))
    kept = np.asarray(model.loss_of_tokens(model.embedding(TOKENS), training=True))
    factors = kept / whole
    np.testing.assert_allclose(factors, np.broadcast_to(factors[..., :1], factors.shape), rtol=1e-5)
    assert sorted(set(np.round(factors.ravel(), 4))) == [0, 2]
    again = TransformerClassifier.from_config(model.get_config())
    assert again.loss_of_tokens.rate == 0.5
    np.testing.assert_array_equal(np.asarray(model(TOKENS)), np.asarray(model(TOKENS)))
    assert np.abs(np.asarray(model(TOKENS, training=True)) - np.asarray(model(TOKENS))).max() > 1e-3


def test_a_text_of_padding_alone_has_an_answer():
    assert np.isfinite(np.asarray(text_model()(np.zeros((1, 4), "int32")))).all()


def test_without_blocks_worth_the_name_the_text_is_a_mean_of_its_words():
    """Blocks whose parts add nothing: softmax(W mean_t norm(e_t + p_t) + b), in NumPy."""
    model = text_model(depth=1)
    for part in (model.blocks[0].attention.out, model.blocks[0].feed_forward.narrow):
        part.set_weights([np.zeros_like(weight) for weight in part.get_weights()])
    table = np.asarray(model.embedding.symbols.weights[0])
    gamma, beta = model.norm.get_weights()
    kernel, bias = model.head.get_weights()
    angles = np.arange(7)[:, None] / 10000 ** (np.arange(0, 8, 2) / 8)
    positions = np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)
    for tokens, answer in zip(TOKENS, np.asarray(model(TOKENS))):
        x = table[tokens] * np.sqrt(8) + positions
        z = ((x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * gamma + beta).mean(0)
        scores = np.exp(z @ kernel + bias)
        np.testing.assert_allclose(answer, scores / scores.sum(), atol=1e-5)


@pytest.mark.parametrize(("make", "inputs"), [(text_model, TOKENS), (image_model, IMAGES)])
def test_it_survives_saving_and_exporting(tmp_path, make, inputs):
    model = make()
    expected = np.asarray(model(inputs))
    np.testing.assert_allclose(expected.sum(-1), 1, atol=1e-5)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(np.asarray(loaded(inputs)), expected, atol=1e-6)
    labels = list("abcd")[: expected.shape[1]]
    manifest = tfseq.export(loaded, tmp_path / "model.onnx", labels=labels, samples=[inputs])
    assert manifest.inputs[0].dtype == inputs.dtype.name
    assert manifest.operators["Attention"] == len(getattr(loaded, "blocks", None) or loaded.encoder.blocks)
    file = tfseq.runtime.load(tmp_path / "model.onnx")
    np.testing.assert_allclose(file.predict(inputs), expected, atol=1e-4)
    assert [label.name for label in file.classify(inputs)] == [labels[i] for i in expected.argmax(-1)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TransformerClassifier(11, 1), "classes is 1; expected at least 2"),
        (lambda: TransformerClassifier(11, 3, units=10, heads=4), "expected a multiple of heads"),
        (lambda: TransformerClassifier(11, 3, depth=0), "depth is 0"),
        (lambda: VisionTransformer(1), "classes is 1; expected at least 2"),
        (lambda: VisionTransformer(3, depth=0), "depth is 0"),
        (lambda: VisionTransformer(3, patch_size=0), "size is 0"),
    ],
)
def test_hyper_parameters_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


ON_JAX = """
import sys
import keras, numpy as np
import tfseq.models
assert keras.backend.backend() == "jax"
folder = sys.argv[1]
for name in ("text", "image"):
    inputs = np.load(f"{folder}/{name}_in.npy")
    np.save(f"{folder}/{name}.npy", keras.saving.load_model(f"{folder}/{name}.keras")(inputs))
"""


def test_jax_gives_the_same_probabilities(tmp_path, on_jax):
    expected = {}
    for name, model, inputs in (("text", text_model(), TOKENS), ("image", image_model(), IMAGES)):
        model.save(tmp_path / f"{name}.keras")
        np.save(tmp_path / f"{name}_in.npy", inputs)
        expected[name] = np.asarray(model(inputs))
    on_jax(ON_JAX, tmp_path)
    for name, probabilities in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), probabilities, atol=2e-5, err_msg=name)
