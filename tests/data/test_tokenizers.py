"""Tokenizers built from texts: their vocabularies, special tokens, and round trips."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseq.data import character_tokenizer, subword_tokenizer, word_tokenizer
from tfseq.data.tokenizers import reading_tokenizer
from tfseq.errors import DataError
from tfseq.runtime.tokenizer_kinds import load_tokenizer


def test_characters_are_sorted_after_the_unknown_token():
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


def test_padding_start_and_end_come_before_the_characters():
    tokenizer = character_tokenizer("ba", start_and_end=True)
    assert tokenizer.symbols == ["<pad>", "<unk>", "<start>", "<end>", "a", "b"]
    assert (tokenizer.start, tokenizer.end) == (2, 3)


SUBWORDS = subword_tokenizer(["a 'a' l'a a'1 l' a  a"] * 3, 275)
WORDS = ["Two men are outside.", "Two men, two dogs (and 12 cats): naïve!", "men\n"]


def test_the_most_frequent_words_are_kept_with_the_space_before_them():
    tokenizer = word_tokenizer(WORDS, 6)
    assert (tokenizer.start, tokenizer.end, tokenizer.append, tokenizer.vocabulary_size) == (2, 3, (), 6)
    assert sorted(tokenizer.encode("Two men").tolist()) == [4, 5]
    assert tokenizer.encode("men Two").tolist() == [1, 1]
    assert tokenizer.unknown("Two cats men cats") == ["cats"]


@pytest.mark.parametrize("text", [*WORDS, "", "Two (and 12): men.", "Two  men", "dogs, outside!\n\n are"])
def test_known_words_come_back_with_their_spaces(text):
    tokenizer = word_tokenizer([*WORDS, "dogs  outside\n\n are"], 100)
    assert not tokenizer.unknown(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_an_unknown_word_is_one_replacement_character():
    tokenizer = word_tokenizer(WORDS, 100)
    assert tokenizer.decode(tokenizer.encode("Two naïve elephants, outside.")) == "Two naïve \ufffd, outside."


def test_subwords_have_every_byte_and_the_frequent_pieces():
    tokenizer = subword_tokenizer(["abab abab"] * 3, 262, append_end=True)
    assert (tokenizer.start, tokenizer.end, tokenizer.append, tokenizer.vocabulary_size) == (1, 2, (2,), 262)
    assert len(tokenizer.encode("abab")) == 1
    assert len(tokenizer.encode("é")) == 3  # the space before it, and two bytes


@pytest.mark.parametrize("apostrophe", ["'", "\N{RIGHT SINGLE QUOTATION MARK}"])
def test_a_subword_is_the_same_at_the_start_behind_a_space_and_behind_an_apostrophe(apostrophe):
    text = f"homme, l{apostrophe}homme et l{apostrophe}eau"
    tokenizer = subword_tokenizer([text] * 3, 300)

    def pieces(text):
        return [tokenizer.decode([id_]) for id_ in tokenizer.encode(text)]

    assert pieces(text) == ["homme", ",", f"l{apostrophe}", "homme", "et", f"l{apostrophe}", "eau"]
    ids = tokenizer.encode(text)
    assert ids[0] == ids[3] == tokenizer.encode(" homme")[-1]
    assert ids[2] == ids[5]


@settings(deadline=None)
@given(st.text(st.sampled_from("'\N{RIGHT SINGLE QUOTATION MARK} \n\ta\u0301é1.")))
def test_apostrophes_and_spaces_come_back_from_subwords(text):
    assert SUBWORDS.decode(SUBWORDS.encode(text)) == text


@pytest.mark.parametrize("make", [word_tokenizer, subword_tokenizer])
def test_a_vocabulary_needs_text_and_room(make):
    for texts in ([], [""], iter(())):
        with pytest.raises(DataError, match="no text"):
            make(texts, 300)
    with pytest.raises(DataError, match="size is 3"):
        make(["a"], 3)


def test_a_reading_tokenizer_reads_words_and_marks_in_small_letters():
    texts = ["It isn't great.", "it IS great , isn\N{RIGHT SINGLE QUOTATION MARK}t it?", "It's caf\u00e9, 42!"] * 2
    tokenizer = reading_tokenizer(texts, 100)

    def read(text):
        return [tokenizer._library.id_to_token(id_) for id_ in tokenizer.encode(text)]

    assert read("It isn't GREAT.") == ["it", "is", "n't", "great", "."]
    assert read("it's 42, cafe\u0301") == ["it", "'s", "42", ",", "caf\u00e9"]
    assert (
        tokenizer.encode("isn't great").tolist()
        == tokenizer.encode("  isn\N{RIGHT SINGLE QUOTATION MARK}t Great ").tolist()
    )


def test_padding_is_token_0_and_words_found_once_are_unknown():
    tokenizer = reading_tokenizer(["a film", "a book"], 100)
    assert tokenizer.encode("a film").tolist() == [2, 1]
    assert tokenizer.unknown("a film") == ["film"]
    assert load_tokenizer(tokenizer.to_json()).encode("A a").tolist() == [2, 2]


def test_a_reading_tokenizer_of_characters_keeps_spaces():
    tokenizer = reading_tokenizer(["ab b", "ab b"], 100, characters=True)
    assert len(tokenizer.encode("A b\n")) == 4
    assert tokenizer.encode("AB").tolist() == tokenizer.encode("ab").tolist()
    assert tokenizer.encode("a\n").tolist()[1] == 1


def test_a_reading_tokenizer_needs_texts_and_room():
    with pytest.raises(DataError, match="There is no text"):
        reading_tokenizer([], 100)
    with pytest.raises(DataError, match="size is 1"):
        reading_tokenizer(["a"], 1)
