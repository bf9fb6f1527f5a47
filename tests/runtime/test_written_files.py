"""Exported files with every tokenizer: streamed text equals generated text."""

import keras
import numpy as np
import pytest

import tfseq
from tfseq.data import character_tokenizer, subword_tokenizer
from tfseq.models import RecurrentLanguageModel, Transformer
from tfseq.runtime import load

TEXTS = ["Two men are outside.", "Zwei Männer sind draußen."]


def exported(model, folder, tokenizer, decode, **settings):
    for name, streaming in (("whole.onnx", None), ("step.onnx", True)):
        more = {} if streaming else settings
        tfseq.export(
            model, folder / name, decode=decode, tokenizer=tokenizer, streaming=streaming, verify=False, **more
        )
    return load(folder / "whole.onnx"), load(folder / "step.onnx")


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    """Files of a character model: the whole loop, and one step."""
    keras.utils.set_random_seed(1)
    tokenizer = character_tokenizer("".join(TEXTS) + "😀")
    model = RecurrentLanguageModel(vocabulary_size=tokenizer.vocabulary_size, units=8, cell="gru")
    model.build((None, None))
    return exported(model, tmp_path_factory.mktemp("language_model"), tokenizer, tfseq.Sample(top_p=0.9))


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    """Files of a translator by byte-level subwords: the whole loop with attention, one step, and the tokenizer."""
    keras.utils.set_random_seed(2)
    tokenizer = subword_tokenizer(TEXTS * 3, 290, append_end=True)
    sizes = {"units": 16, "heads": 2, "hidden": 16, "depth": 1}
    model = Transformer(tokenizer.vocabulary_size, **sizes, start=tokenizer.start, end=tokenizer.end)
    model({"source": np.ones((1, 3), "int32"), "target": np.ones((1, 3), "int32")})
    folder = tmp_path_factory.mktemp("translator")
    return *exported(model, folder, tokenizer, tfseq.Greedy(repetition_penalty=1.5), attention=True), tokenizer


@pytest.mark.parametrize("seed", range(4))
def test_a_stream_of_characters_is_the_text_at_once(language_model, seed):
    whole, step = language_model
    once = whole.generate("Two", 40, seed=seed, details=True)
    stream = step.stream_text("Two", 40, seed=seed)
    assert "".join(stream) == once.text == stream.text
    assert len(once.text) == once.length == 40
    assert stream.score == pytest.approx(once.score, rel=1e-4)


def test_a_stream_goes_on_as_a_longer_prompt_would(language_model):
    whole, step = language_model
    stream = step.stream_text("Two", 10, seed=5)
    first = "".join(stream)
    rest = "".join(stream.more(" men", 20))
    assert rest == whole.generate("Two" + first + " men", 20, seed=5)


@pytest.mark.parametrize("source", [*TEXTS, "o", "日本 😀"])
def test_a_stream_of_subwords_is_the_text_at_once(translator, source):
    whole, step, tokenizer = translator
    once = whole.generate(source, 30, details=True)
    stream = step.stream_text(source, 30)
    assert "".join(stream) == once.text
    assert stream.tokens == once.tokens.tolist()
    assert once.text == tokenizer.decode(once.tokens)
    assert stream.score == pytest.approx(once.score, rel=1e-4)


def test_texts_of_any_lengths_are_translated_side_by_side(translator):
    whole, _, tokenizer = translator
    together = whole.generate(TEXTS, 20, details=True)
    for text, result in zip(TEXTS, together):
        assert result.text == whole.generate(text, 20)
        assert result.attention.shape == (result.length, len(tokenizer.encode(text)) + 1)  # and the end
        np.testing.assert_allclose(result.attention.sum(axis=1), 1, atol=1e-5)


def test_settings_reach_files_and_streams_alike(translator):
    whole, step, _ = translator
    for settings in ({"min_length": 7}, {"repetition_penalty": 3.0}):
        assert "".join(step.stream_text(TEXTS[0], 20, **settings)) == whole.generate(TEXTS[0], 20, **settings)
    assert whole.generate(TEXTS[0], 20, repetition_penalty=5.0) != whole.generate(TEXTS[0], 20, repetition_penalty=1.0)
