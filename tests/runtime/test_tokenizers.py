"""Tokenizers by kind: character, code point and pair tokenizers, their files, and what is refused."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime.tokenizer_kinds import (
    CharacterTokenizer,
    CodePointTokenizer,
    TokenizerPair,
    load_tokenizer,
    read_tokenizer,
)

HELLO = CharacterTokenizer(["<unk>", "e", "h", "l", "o"])


def test_each_character_becomes_its_index_in_the_symbols():
    ids = HELLO.encode("hello")
    assert ids.dtype == np.int32
    assert ids.tolist() == [2, 1, 3, 3, 4]
    assert HELLO.vocabulary_size == 5


def test_characters_never_seen_become_token_0_and_come_back_as_the_replacement_character():
    assert HELLO.encode("hé\0lo😀").tolist() == [2, 0, 0, 3, 4, 0]
    assert HELLO.decode([2, 0, 4]) == "h\ufffdo"
    assert HELLO.unknown("zehaz") == ["z", "a"]
    assert HELLO.unknown("hello") == []


def test_the_empty_text_has_no_tokens():
    assert HELLO.encode("").shape == (0,)
    assert HELLO.decode([]) == ""


@settings(deadline=None)
@given(st.text(st.characters()))
def test_text_survives_encoding_and_decoding_when_every_character_is_known(text):
    tokenizer = CharacterTokenizer(["<unk>", *sorted(set(text))])
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert [tokenizer.symbols[i] for i in tokenizer.encode(text)] == list(text)


@settings(deadline=None)
@given(st.sets(st.characters()), st.text())
def test_encoding_agrees_with_a_dictionary(characters, text):
    symbols = ["<unk>", *sorted(characters)]
    index = {symbol: i for i, symbol in enumerate(symbols)}
    assert CharacterTokenizer(symbols).encode(text).tolist() == [index.get(c, 0) for c in text]


def test_a_saved_tokenizer_loads_as_it_was(tmp_path):
    tokenizer = CharacterTokenizer(["<unk>", "\n", '"', "é", "😀"])
    tokenizer.save(tmp_path / "tokenizer.json")
    assert CharacterTokenizer.load(tmp_path / "tokenizer.json").symbols == tokenizer.symbols
    assert json.loads((tmp_path / "tokenizer.json").read_text())["kind"] == "characters"
    assert [p.name for p in tmp_path.iterdir()] == ["tokenizer.json"]


def test_the_kind_chooses_the_class():
    assert load_tokenizer(HELLO.to_json()).symbols == HELLO.symbols
    with pytest.raises(ArtefactError, match="'subwords'"):
        load_tokenizer({"kind": "subwords"})
    for value in ({"kind": "pair"}, {"kind": "pair", "source": HELLO.to_json(), "target": {"kind": "subwords"}}):
        with pytest.raises(ArtefactError):
            load_tokenizer(value)


def test_start_and_end_are_tokens_that_no_text_has():
    tokenizer = CharacterTokenizer(["<unk>", "<start>", "<end>", *"<>adenrst"])
    assert (tokenizer.start, tokenizer.end) == (1, 2)
    assert (HELLO.start, HELLO.end) == (None, None)
    ids = tokenizer.encode("<start>e<end>")
    assert ids.min() > 2
    assert tokenizer.decode([1, *ids, 2]) == "<start>e<end>"


def test_an_unknown_character_is_no_padding():
    tokenizer = CharacterTokenizer(["<pad>", "<unk>", "<start>", "<end>", "a"])
    assert tokenizer.encode("a?<").tolist() == [4, 1, 1]
    assert tokenizer.decode([2, 4, 1, 3, 0, 0]) == "a\ufffd"
    with pytest.raises(InputError, match="no symbol '<unk>'"):
        CharacterTokenizer(["<pad>", "a"])


@settings(deadline=None)
@given(st.text(st.characters()))
def test_code_points_are_those_of_python_lone_surrogates_included(text):
    ids = CodePointTokenizer([]).encode(text)
    assert (ids.dtype, ids.tolist()) == (np.int32, [ord(character) for character in text])
    assert CodePointTokenizer([]).decode(ids) == text


def test_code_points_that_the_graph_does_not_know_are_named():
    assert CodePointTokenizer(["<unk>", "a", "\ud800"]).unknown("ab\ud800\udc00b") == ["b", "\udc00"]


def test_what_no_code_point_is_refused():
    for ids in ([0x110000], [-1], [1.0], [[97]]):
        with pytest.raises(InputError):
            CodePointTokenizer([]).decode(ids)


def test_a_pair_reads_with_one_tokenizer_and_writes_with_the_other():
    digits = CharacterTokenizer(["<unk>", "<start>", "<end>", *"0123456789"])
    pair = TokenizerPair(HELLO, digits)
    assert pair.encode("hello!").tolist() == [2, 1, 3, 3, 4, 0]
    assert pair.unknown("hello!") == ["!"]
    assert pair.decode([1, 4, 5, 2]) == "12"
    assert (pair.start, pair.end, pair.vocabulary_size) == (1, 2, 13)


@pytest.mark.parametrize("tokenizer", [HELLO, CodePointTokenizer(["<unk>", "a"]), TokenizerPair(HELLO, HELLO)])
def test_a_file_is_read_as_the_kind_that_it_names(tmp_path, tokenizer):
    tokenizer.save(tmp_path / "tokenizer.json")
    read = read_tokenizer(tmp_path / "tokenizer.json")
    assert type(read) is type(tokenizer)
    assert read.to_json() == tokenizer.to_json()


@pytest.mark.parametrize(
    "symbols", [[], ["a"], ["<unk>", "ab"], ["<unk>", ""], ["<unk>", "a", "a"], ["<unk>", 7], ["<unk>", "<x>"]]
)
def test_symbols_that_are_no_vocabulary_are_refused(symbols):
    with pytest.raises(InputError):
        CharacterTokenizer(symbols)
    with pytest.raises(ArtefactError):
        CharacterTokenizer.from_json({"kind": "characters", "symbols": symbols})


@pytest.mark.parametrize("ids", [[5], [-1], [[1, 2]], [1.5]])
def test_ids_that_are_no_tokens_are_refused(ids):
    with pytest.raises(InputError):
        HELLO.decode(ids)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"kind": "characters"}', b"\xff\xfe"])
def test_a_file_that_is_no_tokenizer_is_refused(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ArtefactError):
        CharacterTokenizer.load(tmp_path / "tokenizer.json")
    with pytest.raises(ArtefactError):
        read_tokenizer(tmp_path / "tokenizer.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ArtefactError, match=r"tokenizer\.json"):
        CharacterTokenizer.load(tmp_path / "tokenizer.json")
