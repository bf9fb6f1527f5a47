"""A vocabulary is the sorted characters of the training text behind the unknown symbol."""

import pytest

from tfseq.data import character_tokenizer
from tfseq.errors import DataError


def test_symbols_are_sorted_behind_the_unknown_one():
    assert character_tokenizer("hello, Ö\n").symbols == ["<unk>", "\n", " ", ",", "e", "h", "l", "o", "Ö"]


def test_the_text_it_was_made_from_comes_back():
    text = "naïve 🎻\r\n\ufeff\x00"
    tokenizer = character_tokenizer(text)
    tokens = tokenizer.encode(text)
    assert tokens.min() == 1
    assert tokens.max() == tokenizer.vocabulary_size - 1
    assert tokenizer.decode(tokens) == text


def test_the_order_of_the_text_does_not_matter():
    assert character_tokenizer("abcabc").symbols == character_tokenizer("ccba").symbols


def test_characters_it_has_not_seen_are_unknown():
    assert character_tokenizer("ab").encode("abc").tolist() == [1, 2, 0]


def test_an_empty_text_is_refused():
    with pytest.raises(DataError, match="text is empty"):
        character_tokenizer("")
