"""Models that begin with TextVectorization: the file takes texts, and answers what Keras answers to them."""

import random
import warnings

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from keras import layers, ops

import tfseq
from tfseq.errors import ExportError
from tfseq.runtime import UnknownCharacterWarning, WordTokenizer, load

LEARNED = ["the cat sat on the mat", "The Cat, the DOG!", "Größe x-ray", "it's 東京 🙂", "a\tb c"]
PIECES = [*" ".join(LEARNED).split(), "unseen", "É", "e\u0301", "\u00a0", "...", "[UNK]", "THE", "\u2028", "\x00", "ſ"]
SPACES = [" ", " ", "", "\n", "\t\r", "\v", "\f", ", ", "  ", "\x1c", "\x85"]


@pytest.fixture(autouse=True)
def _any_words():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownCharacterWarning)
        yield


def texts(count, seed=0):
    """Random ones, some empty; the first is not."""
    draw = random.Random(seed)
    found = [
        "".join(draw.choice(PIECES) + draw.choice(SPACES) for _ in range(draw.randint(0, 9))) for _ in range(count)
    ]
    return ["the cat", "", " . ", *found]


def vectorized(**options):
    layer = layers.TextVectorization(name="words", **options)
    layer.adapt(LEARNED)
    return layer


def model_of(layer, shape=()):
    """What tells apart where each token stands, or how often it occurs."""
    x = keras.Input(shape, dtype="string", name="text")
    y = layer(x)
    if layer._output_mode == "int":
        y = layers.Embedding(layer.vocabulary_size(), 5, mask_zero=True)(y)
        y = layers.GRU(4)(y)
    return keras.Model(x, layers.Dense(2, "softmax", name="answer")(y))


KINDS = [
    {},
    {"standardize": "lower", "split": "character", "output_sequence_length": 9},
    {"standardize": "strip_punctuation", "output_sequence_length": 4, "max_tokens": 8},
    {"standardize": None, "ngrams": (3, 1)},
    {"output_mode": "multi_hot", "ngrams": 2},
    {"output_mode": "count", "max_tokens": 40, "pad_to_max_tokens": True},
    {"output_mode": "tf_idf", "split": "character", "standardize": None},
]


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_texts_are_answered_as_keras_answers_them(tmp_path, kind):
    model = model_of(vectorized(**KINDS[kind]), shape=[(), (1,)][kind % 2])
    tfseq.export(model, tmp_path / "m.onnx", labels=["no", "yes"])
    file, read = load(tmp_path / "m.onnx"), texts(60)
    column = tf.constant(read) if kind % 2 == 0 else tf.constant(read)[:, None]
    expected = np.asarray(model(column))
    np.testing.assert_allclose(file.predict(read), expected, atol=1e-5)
    np.testing.assert_allclose(file.predict(np.array(read)[:, None]), expected, atol=1e-5)
    assert file.classify(read[0]).name == ["no", "yes"][expected[0].argmax()]
    assert {declared.domain for declared in onnx.load(tmp_path / "m.onnx").opset_import} == {""}
    assert file.manifest.inputs[0].dtype == "int32"


def test_token_ids_are_those_of_the_layer():
    """As the tokenizer in the file makes them, of every kind of splitting."""
    for seed, kind in enumerate(KINDS):
        layer = vectorized(**{k: v for k, v in kind.items() if k not in ("output_mode", "pad_to_max_tokens")})
        tokenizer = WordTokenizer(
            [str(word) for word in layer.get_vocabulary()],
            lower=layer._standardize in ("lower", "lower_and_strip_punctuation"),
            strip_punctuation="punctuation" in (layer._standardize or ""),
            split=layer._split,
            ngrams=layer._ngrams or (),
            length=layer._output_sequence_length,
        )
        for text, row in zip(texts(300, seed), np.asarray(layer(texts(300, seed))).tolist(), strict=True):
            ids = tokenizer.encode(text).tolist()
            assert ids == (row if tokenizer.length else row[: len(ids)]), (kind, text)
            assert not any(row[len(ids) :]), (kind, text)


def test_texts_beside_numbers_and_strings(tmp_path):
    """Two texts through one layer, each with a length of its own."""
    layer, embedding = vectorized(), layers.Embedding(20, 4, mask_zero=True)
    title, body = (keras.Input((), dtype="string", name=name) for name in ("title", "body"))
    colour, size = keras.Input((1,), dtype="string", name="colour"), keras.Input((2,), name="size")
    read = [layers.LSTM(3)(embedding(layer(text))) for text in (title, body)]
    known = layers.StringLookup(vocabulary=["red", "blue"], output_mode="one_hot")(colour)
    inputs = {"title": title, "body": body, "colour": colour, "size": size}
    model = keras.Model(inputs, layers.Dense(2)(ops.concatenate([*read, ops.cast(known, "float32"), size], -1)))
    tfseq.export(model, tmp_path / "m.onnx")
    file = load(tmp_path / "m.onnx")
    given = {"title": texts(4), "body": texts(4, 1), "colour": [*"abcde", "red", "blue"], "size": np.ones((7, 2), "f")}
    tensors = {name: tf.constant(value) for name, value in given.items()}
    expected = model(tensors | {"colour": tensors["colour"][:, None]})
    (found,) = file.run(given).values()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_was_learned_goes_along_into_float32(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = model_of(vectorized(output_mode="tf_idf"))
    finally:
        keras.config.set_dtype_policy("float32")
    tfseq.export(model, tmp_path / "m.onnx")
    found = load(tmp_path / "m.onnx").predict(texts(30))
    np.testing.assert_allclose(found, ops.cast(model(tf.constant(texts(30))), "float32"), atol=0.02)


@pytest.mark.parametrize("samples", ["the cat", ["the cat", "x", ""], {"text": np.array([["the cat"], ["x"]])}])
def test_samples_are_texts(tmp_path, samples):
    manifest = tfseq.export(model_of(vectorized(), (1,)), tmp_path / "m.onnx", samples=samples, verify="samples")
    assert manifest.parity["checks"][0]["on"] == "1 of samples"


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.words, self.embedding = vectorized(output_sequence_length=5), layers.Embedding(20, 4)

    def call(self, x):
        return ops.max(self.embedding(self.words(x)), axis=1)


@pytest.mark.parametrize("samples", [(), np.array(["the cat", "x", ""], object)])
def test_a_subclassed_model_reads_text(tmp_path, samples):
    model = Subclassed()
    expected = model(tf.constant(texts(9)))
    tfseq.export(model, tmp_path / "m.onnx", samples=samples)
    np.testing.assert_allclose(load(tmp_path / "m.onnx").predict(texts(9)), expected, atol=1e-6)


def test_another_vocabulary_is_another_model(tmp_path):
    """The check compares answers to texts, the tokenizer with the graph."""

    def model(*words):
        keras.utils.set_random_seed(0)
        return model_of(layers.TextVectorization(vocabulary=list(words), name="words"))

    tfseq.export(model("the", "cat"), tmp_path / "m.onnx")
    assert tfseq.verify(tmp_path / "m.onnx", model("the", "cat")).passed
    assert not tfseq.verify(tmp_path / "m.onnx", model("cat", "the")).passed


def _moved(x):
    return tf.strings.join([x, " more"])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: model_of(vectorized(standardize=tf.strings.upper)), "a function of its own as `standardize`"),
        (lambda: model_of(vectorized(split=lambda x: tf.strings.split(x, "-"))), "a function of its own as `split`"),
        (
            lambda: keras.Sequential([keras.Input((), dtype="string"), layers.Lambda(_moved), vectorized()]),
            "ONNX has no operators",
        ),
        (
            lambda: keras.Model(
                x := keras.Input((), dtype="string"),
                [vectorized()(x), layers.TextVectorization(vocabulary=["a"], name="others")(x)],
            ),
            "one of several that split text",
        ),
    ],
)
def test_what_takes_text_apart_otherwise_is_refused_by_layer(tmp_path, model, message):
    with pytest.raises(ExportError, match=rf"The layer words \(TextVectorization\).*{message}"):
        tfseq.export(model(), tmp_path / "m.onnx")


def test_a_model_with_words_of_its_own_takes_no_tokenizer(tmp_path):
    with pytest.raises(ExportError, match="leave tokenizer out"):
        tfseq.export(model_of(vectorized()), tmp_path / "m.onnx", tokenizer=WordTokenizer(["", "?", "a"]))
