"""Code points to token ids and back inside a graph, against the character tokenizer."""

import functools

import numpy as np
import onnx
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfseq.exporting.conversion.convert import to_onnx
from tfseq.exporting.generation.code_points import CodePoints
from tfseq.runtime.manifest import TensorSpec
from tfseq.runtime.session import Session
from tfseq.runtime.tokenizer_kinds import CharacterTokenizer

ALL = np.arange(0x110000, dtype="int32")
VOCABULARIES = {
    "ascii": [chr(c) for c in range(32, 127)],
    "many scripts": list("\0\taß’中文字אב\ud800\udfff\uffff😀\U0010ffff"),
    "none": [],
    "chinese": [chr(c) for c in range(0x4E00, 0x9F00, 7)],
}


def tokenizer(name):
    return CharacterTokenizer(["<unk>", *VOCABULARIES[name]])


@functools.cache
def graph(name, folder):
    """(read and write, an ONNX session of both, the size of the file)"""
    known = tokenizer(name)
    codes = CodePoints(known.symbols, known.vocabulary_size + 2)

    def function(codes_in, tokens_in, lengths):
        return {"tokens": codes.read(codes_in), "codes": codes.write_rows(tokens_in, lengths)}

    specs = [
        TensorSpec("codes_in", "int32", ("batch", "time")),
        TensorSpec("tokens_in", "int32", ("batch", "length")),
        TensorSpec("lengths", "int32", ("batch",)),
    ]
    path = folder / f"{name}.onnx"
    onnx.save(to_onnx(function, specs, None), path)
    return Session(path).run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("code_points")


def run(name, folder, codes=((0,),), tokens=((0,),), lengths=(0,)):
    arrays = {"codes_in": codes, "tokens_in": tokens, "lengths": lengths}
    return graph(name, folder)({key: np.asarray(value, "int32") for key, value in arrays.items()})


@pytest.mark.parametrize("name", VOCABULARIES)
def test_every_code_point_there_is_reads_as_the_tokenizer_reads_it(name, folder):
    text = ALL.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
    assert np.array_equal(run(name, folder, [ALL])["tokens"][0], tokenizer(name).encode(text))


@pytest.mark.parametrize("name", VOCABULARIES)
def test_what_is_no_code_point_reads_as_the_unknown_token(name, folder):
    assert not run(name, folder, [[-1, -(2**31), 0x110000, 2**31 - 1]])["tokens"].any()


@pytest.mark.parametrize("name", VOCABULARIES)
def test_token_ids_are_written_as_their_characters_until_the_end(name, folder):
    known = tokenizer(name)
    tokens = np.arange(known.vocabulary_size + 2)  # the last two are the model's own
    expected = [0xFFFD, *map(ord, known.symbols[1:]), 0xFFFD, 0xFFFD]
    codes = run(name, folder, tokens=[tokens, tokens], lengths=[len(tokens), 1])["codes"]
    assert codes[0].tolist() == expected
    assert codes[1].tolist() == [0xFFFD] + [0] * (len(tokens) - 1)


@given(text=st.text(st.characters(codec=None), min_size=1), name=st.sampled_from(sorted(VOCABULARIES)))
@settings(max_examples=150, deadline=None)
def test_any_text_reads_as_in_python_and_its_known_part_comes_back(text, name, folder):
    known = tokenizer(name)
    codes = [ord(character) for character in text]
    tokens = run(name, folder, [codes])["tokens"][0]
    assert tokens.tolist() == known.encode(text).tolist()
    written = run(name, folder, tokens=[tokens], lengths=[len(tokens)])["codes"][0]
    assert "".join(map(chr, written)) == known.decode(tokens)


def test_start_and_end_of_a_tokenizer_are_no_characters():
    codes = CodePoints(["<unk>", "<start>", "<end>", "s"], 4)
    assert codes.read(np.array([[ord("s"), ord("<")]], "int32")).numpy().tolist() == [[3, 0]]
    assert codes.write(np.array([0, 1, 2, 3], "int32")).numpy().tolist() == [0xFFFD, 0xFFFD, 0xFFFD, ord("s")]


def test_an_unknown_character_is_no_padding():
    codes = CodePoints(["<pad>", "<unk>", "<start>", "<end>", "s"], 5)
    assert codes.read(np.array([[ord("s"), ord("?"), 0x10FFFF, -1]], "int32")).numpy().tolist() == [[4, 1, 1, 1]]
    assert codes.write(np.arange(5, dtype="int32")).numpy().tolist() == [0xFFFD] * 4 + [ord("s")]


def test_tables_are_small():
    def stored(symbols):
        graph = tf.function(CodePoints(symbols, 0).read).get_concrete_function(tf.TensorSpec([None], "int32")).graph
        arrays = [np.asarray(tf.get_static_value(op.outputs[0])) for op in graph.get_operations() if op.type == "Const"]
        return sum(array.size for array in arrays)

    assert stored(["<unk>", *map(chr, range(32, 127))]) < 600  # ASCII: one page, and an empty one
    assert stored(["<unk>", *map(chr, range(0x4E00, 0x9FFF))]) < 0x9FFF - 0x4E00 + 800  # 20,991 Chinese characters
    assert stored(["<unk>", "a", "\U0010ffff"]) < 4353 + 3 * 256 + 20  # the ends of Unicode
