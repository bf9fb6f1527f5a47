"""`SubwordTokenizer`: round trips, special tokens, unknown words, damaged files."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from tfseq.data import subword_tokenizer
from tfseq.errors import ArtefactError, InputError
from tfseq.runtime.tokenizer_kinds import SubwordTokenizer, load_tokenizer, read_tokenizer

TEXTS = ["Two men are outside.", "Two naïve men <end> 😀", "men"] * 2
BYTES = subword_tokenizer(TEXTS, 280)


def words(vocabulary, **parts):
    """A tokenizer.json whose words are split at spaces."""
    library = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>"))
    library.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    for name, part in parts.items():
        setattr(library, name, part)
    return library


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_from_bytes(text):
    ids = BYTES.encode(text)
    assert ids.dtype == np.int32
    assert BYTES.decode(ids) == text
    assert not BYTES.unknown(text)


@settings(deadline=None)
@given(st.text(st.sampled_from("<>endstarpu \n"), max_size=30))
def test_text_never_becomes_a_special_token(text):
    assert BYTES.encode(text).min(initial=3) >= 3
    assert BYTES.decode([1, *BYTES.encode(text), 2, 0]) == text


def test_a_lone_surrogate_is_unknown_and_a_pair_is_its_character():
    assert BYTES.decode(BYTES.encode("a\ud800b\ud83d\ude00")) == "a\ufffdb😀"
    assert BYTES.unknown("a\ud800b\ud83d\ude00") == ["\ud800"]


def test_words_are_numbered_as_the_vocabulary_says():
    tokenizer = SubwordTokenizer(words(["<pad>", "<unk>", "<end>", "two", "men"]).to_str(), end=2)
    assert tokenizer.encode("men two men").tolist() == [4, 3, 4]
    assert tokenizer.vocabulary_size == 5
    assert tokenizer.unknown("men fly two by two") == ["fly", "by"]
    assert tokenizer.decode([4, 3, 2]) == "men two"


def test_text_is_normalized_only_where_the_file_asks_for_it():
    library = words(["<unk>", "men", "Men"])
    assert SubwordTokenizer(library.to_str()).encode("Men").tolist() == [2]
    library.normalizer = normalizers.Lowercase()
    assert SubwordTokenizer(library.to_str()).encode("Men").tolist() == [1]
    assert SubwordTokenizer(library.to_str()).unknown("Men FLY") == ["FLY"]


def test_what_a_file_adds_pads_or_cuts_by_itself_is_left_out():
    library = words(["<pad>", "<unk>", "<end>", "two", "men"])
    library.post_processor = processors.TemplateProcessing("$A <end>", special_tokens=[("<end>", 2)])
    library.enable_padding(length=8)
    library.enable_truncation(2)
    assert SubwordTokenizer(library.to_str()).encode("men two men").tolist() == [4, 3, 4]


def test_unigram_has_an_unknown_token_of_its_own():
    library = Tokenizer(models.Unigram([("<unk>", 0.0), ("a", -1.0), ("ab", -1.5)], unk_id=0))
    tokenizer = SubwordTokenizer(library.to_str())
    assert tokenizer.encode("aba").tolist() == [2, 1]
    assert tokenizer.unknown("abxa") == ["x"]


def test_a_special_token_is_no_text_but_the_unknown_one_is():
    library = words(["men"], decoder=decoders.Fuse())
    library.add_special_tokens(["<unk>", "<mask>"])
    tokenizer = SubwordTokenizer(library.to_str())
    assert tokenizer.decode([0, 2, 1]) == "men<unk>"


def test_it_is_kept_as_json(tmp_path):
    tokenizer = subword_tokenizer(TEXTS, 270, append_end=True)
    value = json.loads(json.dumps(tokenizer.to_json()))
    assert {key: value[key] for key in ("kind", "start", "end", "append")} == {
        "kind": "tokenizers",
        "start": 1,
        "end": 2,
        "append": [2],
    }
    tokenizer.save(tmp_path / "tokenizer.json")
    for again in (load_tokenizer(value), read_tokenizer(tmp_path / "tokenizer.json")):
        assert again.to_json() == value
        assert again.encode("Two men").tolist() == tokenizer.encode("Two men").tolist()


def test_the_library_s_own_file_is_read(tmp_path):
    words(["<unk>", "men"]).save(str(tmp_path / "tokenizer.json"))
    assert read_tokenizer(tmp_path / "tokenizer.json").encode("men").tolist() == [1]


DAMAGED = [
    {"json": "{"},
    {"json": "{}"},
    {"json": "[]"},
    {"json": BYTES.to_json()["json"].replace('"BPE"', '"XYZ"')},
    {"json": 7},
    {"end": 280},
    {"start": -1},
    {"start": "<start>"},
    {"append": [999]},
    {"append": 2},
    {"kind": "words"},
]


@pytest.mark.parametrize("damage", DAMAGED, ids=lambda damage: str(damage)[:30])
def test_what_is_damaged_is_refused_in_one_line(damage):
    with pytest.raises(ArtefactError) as caught:
        SubwordTokenizer.from_json(BYTES.to_json() | damage)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ids", [[280], [-1], [[1, 2]], [1.5], [2**40]])
def test_ids_that_are_no_tokens_are_refused(ids):
    with pytest.raises(InputError):
        BYTES.decode(ids)


def test_tokens_are_looked_up_by_their_spelling():
    assert BYTES.token("<end>") == 2
    with pytest.raises(InputError, match="'<mask>'"):
        BYTES.token("<mask>")
