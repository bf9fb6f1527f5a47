"""Tokenizers that the library `tokenizers` would die of, hang on or fill the memory with."""

import base64
import json
import struct

import pytest

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime import CharacterTokenizer, SubwordTokenizer
from tfseq.runtime.tokenizer_limits import is_catastrophic

GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
GPT_4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)


def description(**changed) -> str:
    model = {
        "type": "WordLevel",
        "vocab": {"<unk>": 0, "a": 1, "b": 2},
        "unk_token": "<unk>",
        **changed.pop("model", {}),
    }
    parts = dict.fromkeys(("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"))
    return json.dumps({"version": "1.0", "added_tokens": [], **parts, "model": model, **changed})


def replace(content, pattern=None):
    return {"type": "Replace", "pattern": pattern or {"String": "a"}, "content": content}


def split(regex):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}


def charsmap(size, content):
    return {
        "type": "Precompiled",
        "precompiled_charsmap": base64.b64encode(struct.pack("<I", size) + content).decode(),
    }


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"model": {"unk_token": "absent"}}, "unk_token is 'absent', which is not in the vocabulary"),
        ({"model": {"unk_token": 5}}, "unk_token is 5"),
        ({"model": {"vocab": {"<unk>": 0, "a": 2**32 - 1}}}, "the id of a token is 4294967295"),
        ({"model": {"vocab": {"<unk>": 0, "a": 10**9}}}, "the id of a token is 1000000000"),
        ({"added_tokens": [{"id": -1, "content": "x"}]}, "the id of a token is -1"),
        ({"added_tokens": 5}, "added_tokens"),
        ({"normalizer": {"type": "Sequence", "normalizers": [replace("aa")] * 30}}, "1.07e[+]09 characters of one"),
        ({"decoder": {"type": "Sequence", "decoders": [replace("aa", {"Regex": "a*"})] * 9}}, "characters of one"),
        ({"pre_tokenizer": split("(a+)+$")}, r"pattern '\(a\+\)\+\$' doubles"),
        ({"normalizer": charsmap(2**32 - 4, b"\0" * 8)}, "charsmap is cut off"),
        ({"normalizer": charsmap(4, b"\0\0\0\0\xff")}, "charsmap can't be read"),
        ({"normalizer": {"type": "Nothing"}}, "damaged, or needs a newer `tokenizers`"),
    ],
)
def test_what_can_blow_up_is_refused_when_it_is_read(changed, message):
    with pytest.raises(ArtefactError, match=message):
        SubwordTokenizer(description(**changed))


def test_what_is_sound_is_read():
    twice = {"type": "Sequence", "normalizers": [replace("aa"), replace("b", {"String": "aa"})]}
    tokenizer = SubwordTokenizer(description(normalizer=twice, pre_tokenizer=split("b")))
    assert tokenizer.encode("aa").tolist() == [2, 2]


def test_replacements_of_characters_that_none_before_makes_do_not_add_up():
    steps = [replace("(x)", {"Regex": rf"[\x{{{code:x}}}]"}) for code in range(0xA0, 0x120)]
    many = {"normalizer": {"type": "Sequence", "normalizers": steps}}
    SubwordTokenizer(description(**many))
    doubling = [replace(chr(code + 1) * 2, {"String": chr(code)}) for code in range(0xA0, 0xAF)]
    for order in (doubling, [*doubling, *steps], [replace("aa"), *doubling]):
        with pytest.raises(ArtefactError, match="replacements may make"):
            SubwordTokenizer(description(normalizer={"type": "Sequence", "normalizers": order}))
    SubwordTokenizer(description(normalizer={"type": "Sequence", "normalizers": doubling[::-1]}))  # each meets none


def test_a_panic_is_an_input_error():
    """(a|a)*b tries 2 ** 40 ways, and the library's limit ends it in a panic of its Rust, which is no `Exception`."""
    tokenizer = SubwordTokenizer(description(pre_tokenizer=split("(a|a)*b")))
    for call in (tokenizer.encode, tokenizer.unknown):
        with pytest.raises(InputError, match="can't encode this text"):
            call("a" * 40 + "cb")


@pytest.mark.parametrize(
    "regex", [GPT_2, GPT_4, "(?>a+)+b", "(?:a++)+", r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))", "[(a+)+]*"]
)
def test_patterns_in_use_are_not_catastrophic(regex):
    assert not is_catastrophic(regex)


@pytest.mark.parametrize(
    "regex", ["(a+)+", "(x*)*y", "(a|b*)*", "((a*)b)*", "(?:a+){2,}", r"(\w+\s?)*$", r"(a)\1", "(?:x{2,}y?){20}"]
)
def test_a_repeat_in_a_repeat_is_catastrophic(regex):
    assert is_catastrophic(regex)


def test_many_symbols_may_be_repeated():
    """Counting each on its own would take an hour."""
    symbols = list(map(chr, range(0x10000, 0x10000 + 200_000)))
    with pytest.raises(InputError, match="these are repeated"):
        CharacterTokenizer(["<unk>", *symbols, *symbols])
