"""`Model.stream_text`: pieces as they are generated, states, continuing, and characters of several tokens."""

import json
from concurrent.futures import ThreadPoolExecutor

import onnx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tfseq.data import subword_tokenizer, word_tokenizer
from tfseq.errors import InputError
from tfseq.runtime import CharacterTokenizer, UnknownCharacterWarning, load, stream
from tfseq.runtime.text_stream import _Pieces

LETTERS = "?abcdefghij"
BYTES = subword_tokenizer(["né😀 men, naïve"] * 2, 275)


def sums(prompt, length, seed=0, index=0):
    """What the file `summer` writes after tokens, in Python."""
    read, new = list(prompt), []
    for i in range(length):
        token = (sum(read) + len(read) - 1 + index + i + seed) % 11
        if token == 0:
            return new
        new.append(token)
        read.append(token)
    return new


def letters(tokens):
    return "".join(LETTERS[token] for token in tokens)


@pytest.mark.parametrize("prompt", [[1], [2, 3], [5, 5, 5, 9], [10] * 7])
@pytest.mark.parametrize("seed", [0, 3, -4])
def test_each_token_follows_on_the_states_of_the_one_before(summer, prompt, seed):
    stream = load(summer).stream_text(letters(prompt), max_length=6, seed=seed)
    pieces = list(stream)
    expected = sums(prompt, 6, seed)
    assert pieces == list(letters(expected))
    assert (stream.text, stream.tokens, stream.ended) == (letters(expected), expected, len(expected) < 6)
    assert stream.score == -len(expected) - stream.ended
    assert list(stream) == []


def test_a_file_streams_without_being_opened_first(summer):
    expected = list(letters(sums([1, 2], 5, seed=3)))
    assert list(stream(summer, "ab", max_length=5, seed=3)) == expected
    assert list(stream(load(summer), "ab", max_length=5, seed=3)) == expected


def test_pieces_come_before_the_text_is_whole(summer):
    stream = load(summer).stream_text("ab", max_length=5)
    assert next(stream) == letters(sums([1, 2], 1))
    assert stream.text == letters(sums([1, 2], 1))


def test_a_stream_goes_on_as_if_it_had_never_stopped(summer):
    first = sums([1, 4], 2)
    stream = load(summer).stream_text("ad", max_length=2)
    assert "".join(stream) == letters(first)
    rest = sums([1, 4, *first], 3)  # the number of new tokens, which this file adds, counts anew
    assert len(rest) == 3
    assert "".join(stream.more(max_length=3)) == letters(rest)
    assert stream.tokens == first + rest


def test_a_stream_reads_more_text_in_between(summer):
    stream = load(summer).stream_text("ab", max_length=2)
    first = [LETTERS.index(piece) for piece in stream]
    assert "".join(stream.more("jj", max_length=3)) == letters(sums([1, 2, *first, 10, 10], 3))


def test_a_stream_goes_on_in_its_middle(summer):
    stream = load(summer).stream_text("ab", max_length=9)
    first = LETTERS.index(next(stream))
    assert "".join(stream.more("c", max_length=2)) == letters(sums([1, 2, first, 3], 2))


def test_two_streams_of_a_file_keep_apart(summer):
    model = load(summer)
    one, other = model.stream_text("ad", max_length=4), model.stream_text("bj", max_length=4)
    mixed = [(next(one), next(other)) for _ in range(3)]
    assert "".join(a for a, _ in mixed) == letters(sums([1, 4], 3))
    assert "".join(b for _, b in mixed) == letters(sums([2, 10], 3))


def test_a_stream_stops_where_the_model_has_no_more_positions(summer):
    model = onnx.load(summer)
    manifest = json.loads(model.metadata_props[0].value)
    manifest["decoding"]["max_positions"] = 5
    onnx.helper.set_model_props(model, {"tfseq": json.dumps(manifest)})
    onnx.save(model, summer)
    stream = load(summer).stream_text("ad", max_length=2)
    assert "".join(stream) == letters(sums([1, 4], 2))
    with pytest.raises(InputError, match="The text has 6 tokens"):
        stream.more("ab")
    with pytest.raises(InputError, match="max_length is 3; after 4 tokens there is room for 2"):
        stream.more(max_length=3)
    assert len("".join(stream.more())) == 2
    with pytest.raises(InputError, match="The text has 6 tokens; this model reads 5 at most"):
        stream.more()


def test_the_end_stops_a_stream_for_good(reciter):
    tokenizer = CharacterTokenizer(["<unk>", "<start>", "<end>", *"abc"])
    stream = load(reciter([3, 4, 2, 5], tokenizer.to_json(), end=2)).stream_text("cab")
    assert list(stream) == ["a", "b"]
    assert (stream.ended, stream.tokens) == (True, [3, 4])
    with pytest.raises(InputError, match="has ended this sequence"):
        stream.more("a")


def test_no_length_is_no_text(summer):
    stream = load(summer).stream_text("ab", max_length=0)
    assert (list(stream), stream.text, stream.ended) == ([], "", False)
    assert "".join(stream.more(max_length=2)) == letters(sums([1, 2], 2))


def test_parts_of_a_character_wait_for_the_rest(reciter):
    script = BYTES.encode("a\u20ac😀\ufffdb").tolist()
    assert len(script) > 8
    pieces = list(load(reciter(script, BYTES.to_json())).stream_text("men", max_length=len(script)))
    assert "".join(pieces) == " a\u20ac😀\ufffdb"
    assert all(piece.count("\ufffd") == (piece == "\ufffdb") for piece in pieces)


def test_a_character_that_is_cut_off_is_shown_in_the_end(reciter):
    script = BYTES.encode("a\u20ac").tolist()[:-1]
    stream = load(reciter(script, BYTES.to_json())).stream_text("men", max_length=len(script))
    assert list(stream) == [" ", "a", "\ufffd"]
    assert " " + BYTES.decode(script) == " a\ufffd" == stream.text


def test_what_waits_is_not_lost_when_the_stream_goes_on(reciter):
    script = BYTES.encode("a\u20ac").tolist()
    stream = load(reciter(script, BYTES.to_json())).stream_text("men", max_length=len(script))
    assert [next(stream), next(stream)] == [" ", "a"]
    stream._pieces.add(stream._choose())  # half of a character
    assert list(stream.more("x", max_length=2)) == ["\ufffd", " ", "a"]


@settings(deadline=None)
@given(st.lists(st.integers(0, BYTES.vocabulary_size - 1), max_size=30))
@example([0, 267])
def test_pieces_of_any_bytes_are_the_text_at_once(tokens):
    before = BYTES.encode("é")
    pieces = _Pieces(BYTES, before)
    streamed = [pieces.add(token) for token in tokens]
    assert "é" + "".join(streamed) + pieces.rest() == BYTES.decode([*before, *tokens])
    valid = [piece for piece in streamed if not piece.endswith("\ufffd")]
    assert valid == streamed


WORDS = word_tokenizer(["Two men are outside, (naïve) men!"] * 2, 50)


@settings(deadline=None)
@given(st.lists(st.integers(0, WORDS.vocabulary_size - 1), max_size=30))
def test_words_come_one_by_one(tokens):
    pieces = _Pieces(WORDS, WORDS.encode("Two men"))
    streamed = [pieces.add(token) for token in tokens]
    assert streamed == [WORDS.decode([token]) for token in tokens]
    assert pieces.rest() == ""


def test_wrong_calls_are_said(summer, counter, shifter):
    model = load(summer)
    for text, message in ((["a"], "one text at a time"), ("", "prompt is empty"), (7, "prompt is int")):
        with pytest.raises(InputError, match=message):
            model.stream_text(text)
    with pytest.raises(InputError, match="no setting 'temperature'; it has max_length, seed"):
        model.stream_text("a", temperature=1)
    with pytest.raises(InputError, match="max_length is -1"):
        model.stream_text("a", max_length=-1)
    with pytest.raises(InputError, match=r"max_length is 1\.5"):
        model.stream_text("a").more(max_length=1.5)
    with pytest.raises(InputError, match="text is bytes"):
        model.stream_text("a").more(b"b")
    with pytest.raises(InputError, match="call stream_text"):
        model.generate("a")
    with pytest.raises(InputError, match="call stream_text"):
        model.stream()
    with pytest.raises(InputError, match="call generate, or export the model with streaming=True"):
        load(counter).stream_text("a")
    with pytest.raises(InputError, match="does not generate step by step"):
        load(shifter).stream_text("a")


def test_a_step_file_without_a_tokenizer_takes_no_text(reciter):
    with pytest.raises(InputError, match="has no tokenizer"):
        load(reciter([1], None)).stream_text("a")


def test_unknown_characters_are_named_at_the_caller(summer):
    with pytest.warns(UnknownCharacterWarning, match="'x'") as caught:
        stream = load(summer).stream_text("ax", max_length=1)
    assert caught[0].filename == __file__
    with pytest.warns(UnknownCharacterWarning, match="'y'") as caught:
        stream.more("y")
    assert caught[0].filename == __file__


def test_a_stream_that_continues_a_prompt_takes_no_other(summer):
    with pytest.raises(InputError, match="give the prompt as the text"):
        load(summer).stream_text("a", prompt="b")


def test_threads_share_a_stream(summer):
    whole = letters(sums([1, 2], 60, seed=5))
    for _ in range(10):
        stream, pieces = load(summer).stream_text("ab", max_length=60, seed=5), []
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _, stream=stream, pieces=pieces: pieces.extend(stream), range(4)))
        assert stream.text == whole
        assert sorted(pieces) == sorted(whole)
