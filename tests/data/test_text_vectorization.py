"""`tokenizer_of` against Keras' TextVectorization on random vocabularies, texts, standardizations and splits."""

import random
import re
import string
import warnings

import numpy as np
import pytest

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers

import tfseq
from tfseq.data import tokenizer_of
from tfseq.errors import DataError, ExportError, InputError
from tfseq.models import RecurrentLanguageModel, Seq2Seq
from tfseq.runtime import TokenizerPair, UnknownCharacterWarning, load, load_tokenizer

WORDS = st.text(st.sampled_from("abcABC.,!¿éÉ東🙂[]'-"), min_size=1, max_size=4)
STRIPPED = "".join(character for character in string.punctuation + "¿" if character not in "[]")


@pytest.fixture(autouse=True)
def _any_words():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownCharacterWarning)
        yield


def as_in_the_tutorial(text):
    return tf.strings.regex_replace(tf.strings.lower(text), f"[{re.escape(STRIPPED)}]", "")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    learned=st.lists(WORDS, min_size=1, max_size=12),
    texts=st.lists(
        st.lists(st.tuples(WORDS, st.sampled_from([" ", "", "\n", ", ", "\u00a0"])), max_size=6), max_size=5
    ),
    standardize=st.sampled_from([None, "lower", "strip_punctuation", "lower_and_strip_punctuation", "own"]),
    split=st.sampled_from(["whitespace", "character"]),
    length=st.sampled_from([None, 1, 5]),
    most=st.sampled_from([None, 5, 50]),
    ragged=st.booleans(),
)
def test_token_ids_are_those_of_the_layer(learned, texts, standardize, split, length, most, ragged):
    own = standardize == "own"
    layer = layers.TextVectorization(
        most,
        as_in_the_tutorial if own else standardize,
        split,
        output_sequence_length=None if ragged else length,
        ragged=ragged,
    )
    layer.adapt(learned)
    if len(layer.get_vocabulary()) == 2:  # nothing is left of what was learned
        return
    tokenizer = tokenizer_of(layer, lower=True, strip=STRIPPED) if own else tokenizer_of(layer)
    tokenizer = load_tokenizer(tokenizer.to_json())
    for text in ["".join(word + space for word, space in parts) for parts in texts]:
        made = layer([text])
        expected = np.asarray(made.to_tensor() if ragged else made)[0]
        found = tokenizer.encode(text)
        assert len(found) == len(expected) or length is None
        assert np.array_equal(np.trim_zeros(found, "b"), np.trim_zeros(expected, "b")), text


def adapted(**options):
    layer = layers.TextVectorization(name="words", **options)
    layer.adapt(["[start] a fine film [end]", "A dull film!"])
    return layer


@pytest.mark.parametrize(
    ("layer", "declared", "message"),
    [
        (lambda: layers.Embedding(3, 4), {}, "is Embedding; expected a keras.layers.TextVectorization"),
        (lambda: adapted(ngrams=2), {}, "has ngrams; expected .* Or let the model begin with the layer"),
        (
            lambda: adapted(output_mode="tf_idf"),
            {},
            "gives out vectors of the kind 'tf_idf'; expected output_mode='int'",
        ),
        (lambda: adapted(split=None), {}, "splits no text"),
        (lambda: adapted(standardize=tf.strings.upper), {}, "function of its own as `standardize`.* Say what it does"),
        (lambda: adapted(split=tf.strings.split), {}, "function of its own as `split`.* Split by 'whitespace'"),
        (lambda: adapted(), {"lower": True}, "by 'lower_and_strip_punctuation' already; leave lower and strip out"),
        (lambda: adapted(), {"start": "[start]"}, "'\\[start\\]' is no word of the vocabulary, which begins with"),
        (lambda: layers.TextVectorization(name="words"), {}, "has no vocabulary yet; call its adapt"),
        (
            lambda: adapted(standardize=as_in_the_tutorial),
            {"lower": True},
            "makes the tokens .* and lower=True, strip=''",
        ),
        (lambda: adapted(standardize=as_in_the_tutorial), {"strip": STRIPPED}, "lower=False"),
        (
            lambda: adapted(standardize=as_in_the_tutorial),
            {"lower": True, "strip": STRIPPED + "["},
            "expected the same",
        ),
    ],
)
def test_what_a_file_can_not_hold_or_was_not_declared_is_said(layer, declared, message):
    with pytest.raises(DataError, match=message):
        tokenizer_of(layer(), **declared)


def test_a_classifier_of_token_ids_reads_text(tmp_path):
    vectorize = adapted(output_sequence_length=6)
    model = keras.Sequential([keras.Input((6,), dtype="int64"), layers.Embedding(9, 4), layers.LSTM(3)])
    model.add(layers.Dense(2, "softmax"))
    path, texts = tmp_path / "m.onnx", ["A fine film.", "dull", "A film, a film; a very fine, dull film"]
    tfseq.export(model, path, labels=["bad", "good"], tokenizer=tokenizer_of(vectorize))
    expected = np.asarray(model(vectorize(texts)))
    np.testing.assert_allclose([label.probability for label in load(path).classify(texts)], expected.max(1), atol=1e-5)
    tfseq.export(model, path, labels=["bad", "good"])
    with pytest.raises(InputError, match=r"no text; .* with a tokenizer, such as tfseq.data.tokenizer_of"):
        load(path).classify(texts)


def test_a_translator_as_in_the_tutorial_writes_words_with_spaces(tmp_path):
    """Sources of a fixed length while training; a vocabulary larger than the words that were found."""
    source = adapted(output_sequence_length=20)
    target = adapted(standardize=as_in_the_tutorial, max_tokens=30, output_sequence_length=21)
    pair = TokenizerPair(
        tokenizer_of(source), tokenizer_of(target, lower=True, strip=STRIPPED, start="[start]", end="[end]")
    )
    keras.utils.set_random_seed(0)
    model = Seq2Seq(30, source.vocabulary_size(), units=8, embedding_dim=4, start=pair.start, end=pair.end)
    model.build()
    for weight in model.weights:
        weight.assign(weight * 4)
    manifest = tfseq.export(model, tmp_path / "m.onnx", decode=tfseq.Sample(temperature=3.0), tokenizer=pair)
    assert manifest.parity["passed"]
    file, words = load(tmp_path / "m.onnx"), target.get_vocabulary()
    for seed in range(4):
        (written,) = file.generate(["A fine film"], seed=seed, max_length=9, details=True)
        expected = [words[token] if 1 < token < len(words) else "\ufffd" for token in written.tokens if token]
        assert written.text == " ".join(word for word in expected if word not in ("[start]", "[end]"))
    assert file.manifest.tokenizer["target"]["words"] == [*words, *[""] * (30 - len(words))]


def test_prompts_are_not_padded_to_the_length_of_the_training(tmp_path):
    vectorize = adapted(output_sequence_length=10)
    keras.utils.set_random_seed(0)
    model = RecurrentLanguageModel(vectorize.vocabulary_size(), 8)
    model.build()
    tfseq.export(model, tmp_path / "m.onnx", decode=tfseq.Greedy(), tokenizer=tokenizer_of(vectorize), verify=False)
    file = load(tmp_path / "m.onnx")
    prompt = np.asarray(vectorize(["a fine"]))[:, :2].astype("int32")
    expected = tfseq.decoding.generate(model, prompt, decode=tfseq.Greedy(), max_length=5).tokens[0]
    (written,) = file.generate(["a fine"], max_length=5, details=True)
    assert np.array_equal(written.tokens, expected)
    small = RecurrentLanguageModel(4, 8)
    small.build()
    with pytest.raises(ExportError, match="tokenizer has 8 tokens and the model 4"):
        tfseq.export(small, tmp_path / "m.onnx", decode=tfseq.Greedy(), tokenizer=tokenizer_of(vectorize))


def test_random_texts_of_a_large_vocabulary():
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghé", k=draw.randint(1, 7))) for _ in range(3000)]
    layer = layers.TextVectorization(2000, output_sequence_length=7)
    layer.adapt([" ".join(draw.choices(words, k=20)) for _ in range(500)])
    tokenizer = tokenizer_of(layer)
    texts = [" ".join(draw.choices(words, k=draw.randint(0, 9))).title() + "!" for _ in range(200)]
    assert np.array_equal([tokenizer.encode(text) for text in texts], layer(texts))
