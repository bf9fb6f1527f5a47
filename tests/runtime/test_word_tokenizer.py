"""`WordTokenizer`: its splitting by ASCII's rules, n-grams, fixed lengths, its file, and what is refused."""

import re
import string

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime import load_tokenizer
from tfseq.runtime.text_generation import UnknownCharacterWarning, padded_tokens
from tfseq.runtime.word_tokenizer import WordTokenizer

WORDS = ["", "[UNK]", "the", "cat", "sat", "the cat"]


@pytest.mark.parametrize(
    ("rules", "text", "ids"),
    [
        ({}, "the cat  sat\non", [2, 3, 4, 1]),
        ({}, "The cat. [UNK] ", [1, 1, 1]),
        ({"lower": True}, "THE cat.", [2, 1]),
        ({"strip_punctuation": True}, "the, c'a-t!", [2, 3]),
        ({"strip_punctuation": "¿."}, "¿the cat.,", [2, 1]),
        ({"strip_punctuation": ""}, "the. cat", [1, 3]),
        ({"length": 3}, "the cat sat the", [2, 3, 4]),
        ({"length": 3, "pad": False}, "the cat", [2, 3]),
        ({"length": 1, "pad": False}, "the cat", [2]),
        ({"length": 3}, "", [0, 0, 0]),
        ({"ngrams": (1, 2)}, "the cat sat", [2, 3, 4, 5, 1]),
        ({"ngrams": (2,)}, "the", []),
        ({}, " \t\r\v\f\n", []),
        ({}, "the\u00a0cat", [1]),  # to TensorFlow a no-break space is a letter
    ],
)
def test_texts_by_hand(rules, text, ids):
    encoded = WordTokenizer(WORDS, **rules).encode(text)
    assert encoded.tolist() == ids
    assert encoded.dtype == np.int32


def test_characters_are_tokens_too():
    tokenizer = WordTokenizer(["", "[UNK]", "e", "\u0301", " ", "\N{GRINNING FACE}"], split="character")
    assert tokenizer.encode("e\u0301 \ud83d\ude00\ud800").tolist() == [2, 3, 4, 5, 1]
    assert tokenizer.decode([2, 4, 1, 0]) == "e \ufffd"


def test_start_and_end_are_no_text_and_tokens_without_a_word_are_unknown():
    tokenizer = WordTokenizer([*WORDS, "", "[end]"], start=2, end=7)
    assert tokenizer.decode([2, 3, 1, 6, 7, 0]) == "cat \ufffd \ufffd"
    assert tokenizer.encode("the [end]").tolist() == [2, 7]
    assert (tokenizer.start, tokenizer.end) == (2, 7)


def test_words_come_back_with_spaces_between_them():
    tokenizer = WordTokenizer(WORDS)
    assert tokenizer.decode([2, 3, 1, 0, 0]) == "the cat \ufffd"
    assert tokenizer.unknown("a cat on a mat") == ["a", "on", "mat"]
    with pytest.raises(InputError, match="outside the vocabulary"):
        tokenizer.decode([6])


@given(st.lists(st.text(st.sampled_from(string.ascii_letters + "é東")), max_size=8), st.sampled_from(" \t\n"))
def test_words_that_are_known_have_their_places(words, space):
    words = [word for word in words if word]
    tokenizer = WordTokenizer(["", "[UNK]", *dict.fromkeys(words)])
    ids = tokenizer.encode(space.join(words))
    assert [tokenizer.words[id_] for id_ in ids] == words


def test_a_text_among_others_may_be_empty_and_not_all_of_them():
    with pytest.warns(UnknownCharacterWarning, match="'dog'"):
        _, padded = padded_tokens(WordTokenizer(WORDS), ["the dog", "", "cat"], "text")
    assert padded.tolist() == [[2, 1], [0, 0], [3, 0]]
    with pytest.raises(InputError, match="makes no token of the text ' '"):
        padded_tokens(WordTokenizer(WORDS), [" ", ""], "text")
    assert padded_tokens(WordTokenizer(WORDS, length=2), "", "text")[1].tolist() == [[0, 0]]


def test_it_comes_back_from_its_description():
    tokenizer = WordTokenizer(WORDS, True, True, "character", (2, 1), 7, False, 2, 5)
    again = load_tokenizer(tokenizer.to_json())
    assert again.to_json() == tokenizer.to_json()
    assert again.encode("T.H.E cat").tolist() == tokenizer.encode("T.H.E cat").tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"words": ["a", "b"]}, "begins with ''"),
        ({"words": [""]}, "begins with ''"),
        ({"words": ["", "?", 3]}, "begins with ''"),
        ({"words": "ab"}, "Not a tokenizer of words"),
        ({"split": "commas"}, "'commas'; expected one of whitespace, character"),
        ({"split": ["whitespace"]}, "expected one of whitespace, character"),
        ({"lower": "no"}, "True or False"),
        ({"pad": 1}, "True or False"),
        ({"strip_punctuation": 3}, "characters to strip"),
        ({"start": 0}, "start is 0; expected None or a token, 1 to 5"),
        ({"end": 6}, "end is 6"),
        ({"end": True}, "end is True"),
        ({"ngrams": [0]}, "ngrams holds 0"),
        ({"ngrams": ["2"]}, "ngrams holds '2'"),
        ({"length": -1}, "length holds -1"),
        ({"length": 2.5}, "length holds 2.5"),
        ({"length": 10**12}, "length 1000000000000; expected"),
        ({"ngrams": [10**6]}, "ngrams are (1000000,), length None; expected 64 at most"),
        ({"ngrams": [1] * 65}, "64 at most"),
    ],
)
def test_a_damaged_description_is_named(change, message):
    with pytest.raises(ArtefactError, match=re.escape(message)):
        load_tokenizer(WordTokenizer(WORDS).to_json() | change)
