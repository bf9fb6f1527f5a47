"""KerasHub's tokenizers in files: the same token ids and texts, over random texts of many scripts; or a refusal."""

import numpy as np
import pytest

keras_hub = pytest.importorskip("keras_hub")

from benchmarks.harness.hub_vocabularies import MAKERS, UNIGRAM, sentence_pieces, texts, word_pieces
from tfseq.errors import ExportError
from tfseq.hub.tokenizers import converted, ids_of
from tfseq.runtime.subword_tokenizer import SubwordTokenizer


@pytest.mark.parametrize("name", MAKERS)
def test_it_reads_and_writes_as_keras_hub_does(name):
    tokenizer = MAKERS[name](keras_hub.models)
    made, differing = SubwordTokenizer.from_json(converted(tokenizer).to_json()), []  # as a file has it
    for text in texts(300):
        theirs = ids_of(tokenizer, text)
        if made.encode(text).tolist() != theirs:
            differing.append(text)
        elif "Bert" not in name and theirs and "XLM" not in name:  # those write nothing
            assert made.decode(np.array(theirs)) == without_special(tokenizer, made, theirs)
    assert differing == []


def without_special(tokenizer, made, ids):
    return tokenizer.detokenize([id_ for id_ in ids if id_ not in made._not_text.tolist()])


def test_tokens_that_the_model_counts_and_the_tokenizer_lacks_are_there_and_have_no_text():
    tokenizer = MAKERS["GPT2"](keras_hub.models)
    made = converted(tokenizer, tokenizer.vocabulary_size() + 5)
    assert made.vocabulary_size == tokenizer.vocabulary_size() + 5
    assert made.decode([made.vocabulary_size - 1]) == ""


def test_what_differs_is_refused_with_the_text(monkeypatch):
    tokenizer = MAKERS["GPT2"](keras_hub.models)
    monkeypatch.setattr(type(tokenizer), "tokenize", lambda self, text: [0, 1])
    with pytest.raises(ExportError, match=r"GPT2Tokenizer.*makes \[0, 1\] of 'The quick"):
        converted(tokenizer)


def test_word_pieces_of_words_are_refused():
    tokenizer = keras_hub.tokenizers.WordPieceTokenizer(word_pieces(), split=False)
    with pytest.raises(ExportError, match="split=False"):
        converted(tokenizer)


def test_unigram_models_with_bytes_are_refused():
    tokenizer = keras_hub.models.T5Tokenizer(proto=sentence_pieces(**UNIGRAM, byte_fallback=True))
    with pytest.raises(ExportError, match="Unigram model with bytes"):
        converted(tokenizer)
