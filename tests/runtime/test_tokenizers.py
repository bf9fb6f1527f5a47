import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime.tokenizers import CharacterTokenizer, load_tokenizer

HELLO = CharacterTokenizer(["<unk>", "e", "h", "l", "o"])


def test_each_character_becomes_its_index_in_the_symbols():
    ids = HELLO.encode("hello")
    assert ids.dtype == np.int32
    assert ids.tolist() == [2, 1, 3, 3, 4]
    assert HELLO.vocabulary_size == 5


def test_characters_never_seen_become_token_0_and_come_back_as_the_replacement_character():
    assert HELLO.encode("hé\0lo😀").tolist() == [2, 0, 0, 3, 4, 0]
    assert HELLO.decode([2, 0, 4]) == "h\ufffdo"
    assert HELLO.unknown_characters("zehaz") == ["z", "a"]
    assert HELLO.unknown_characters("hello") == []


def test_the_empty_text_has_no_tokens():
    assert HELLO.encode("").shape == (0,)
    assert HELLO.decode([]) == ""


@given(st.text(st.characters()))
def test_text_survives_encoding_and_decoding_when_every_character_is_known(text):
    tokenizer = CharacterTokenizer(["<unk>", *sorted(set(text))])
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert [tokenizer.symbols[i] for i in tokenizer.encode(text)] == list(text)


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


@pytest.mark.parametrize("symbols", [[], ["a"], ["<unk>", "ab"], ["<unk>", ""], ["<unk>", "a", "a"], ["<unk>", 7]])
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


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ArtefactError, match=r"tokenizer\.json"):
        CharacterTokenizer.load(tmp_path / "tokenizer.json")
