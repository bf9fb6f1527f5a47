"""Accuracy checks of quantized encoder-decoders, by the similarity of whole answers to their references."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tfseq.cli import main
from tfseq.errors import InputError, QuantizationError
from tfseq.exporting import quantize
from tfseq.exporting.quantization.accuracy_drop import edit_distance
from tfseq.exporting.quantization.evaluation_data import task_data
from tfseq.runtime import CharacterTokenizer, Manifest, TensorSpec, TokenizerPair, load
from tfseq.runtime.array_files import read_samples

LETTERS = CharacterTokenizer(["<unk>", *map(chr, range(64, 64 + 63))])
TABLE = np.random.default_rng(0).normal(size=(64, 64)).astype("float32")


def edit_distance_by_definition(a, b):
    if not a or not b:
        return len(a) + len(b)
    same = edit_distance_by_definition(a[1:], b[1:]) + (a[0] != b[0])
    return min(same, 1 + edit_distance_by_definition(a[1:], b), 1 + edit_distance_by_definition(a, b[1:]))


@given(*[st.lists(st.integers(1, 3), max_size=5)] * 2)
def test_edits_are_counted_as_defined(a, b):
    assert edit_distance(np.array(a, "int32"), np.array(b, "int32")) == edit_distance_by_definition(a, b)


@pytest.fixture
def translator(tmp_path, write):
    """A file that turns each token of the source into the most likely one by its row of TABLE; padding into padding."""
    manifest = Manifest(
        name="translator",
        task="generate",
        inputs=(TensorSpec("source", "int32", ("batch", "source_time")), TensorSpec("max_length", "int32", ())),
        outputs=(TensorSpec("tokens", "int32", ("batch", "new_time")), TensorSpec("lengths", "int32", ("batch",))),
        operators={"Gather": 1},
        opset=18,
        tokenizer=LETTERS.to_json(),
        decoding={"strategy": "greedy", "start": 1, "end": 2},
    )
    nodes = [
        helper.make_node("Gather", ["table", "source"], ["logits"]),  # (batch, time, 64)
        helper.make_node("ArgMax", ["logits"], ["best"], axis=-1, keepdims=0),
        helper.make_node("Cast", ["best"], ["best_tokens"], to=TensorProto.INT32),
        helper.make_node("Min", ["source", "one"], ["real"]),  # 0 or 1
        helper.make_node("Mul", ["best_tokens", "real"], ["all"]),
        helper.make_node("Unsqueeze", ["max_length", "axis_0"], ["width"]),
        helper.make_node("Slice", ["all", "zero", "width", "axis_1"], ["tokens"]),
        helper.make_node("Min", ["tokens", "one"], ["counted"]),
        helper.make_node("ReduceSum", ["counted", "axis_1_long"], ["lengths"], keepdims=0),
    ]
    table = TABLE.copy()
    table[:, 0] = -9  # no token becomes padding
    constants = [
        numpy_helper.from_array(table, "table"),
        numpy_helper.from_array(np.array(1, "int32"), "one"),
        numpy_helper.from_array(np.array([0], "int64"), "axis_0"),
        numpy_helper.from_array(np.array([0], "int32"), "zero"),
        numpy_helper.from_array(np.array([1], "int32"), "axis_1"),
        numpy_helper.from_array(np.array([1], "int64"), "axis_1_long"),
    ]
    return write(tmp_path / "translator.onnx", nodes, constants, manifest), table


def answers(table, texts):
    return [LETTERS.decode(table[LETTERS.encode(text)].argmax(-1)) for text in texts]


def texts(count):
    random = np.random.default_rng(1)
    return ["".join(random.choice(LETTERS.symbols[1:], random.integers(2, 9))) for _ in range(count)]


def scores(manifest):
    return {score["metric"]: score for score in manifest.quantization["scores"]}


def test_pairs_of_texts_are_judged_by_their_similarity(translator, tmp_path):
    path, table = translator
    sources = texts(50)
    references = answers(table, sources)
    references[:25] = [text + "A" for text in references[:25]]  # one edit too many
    manifest = quantize(path, tmp_path / "small.onnx", "float16", samples=list(zip(sources, references)))
    assert manifest.quantization["data"] == "50 pairs of texts"
    assert manifest.quantization["gate"] == {"metric": "similarity", "tolerance": 0.005}
    similarity = scores(manifest)["similarity"]
    expected = np.mean([1 - 1 / len(text) for text in references[:25]] + [1] * 25)
    assert similarity["before"] == pytest.approx(expected)
    assert scores(manifest)["accuracy"]["before"] == 0.5


def test_pairs_come_from_a_file_with_tabs(translator, tmp_path, capsys):
    path, table = translator
    data = tmp_path / "pairs.tsv"
    sources = texts(20)
    lines = [f"{source}\t{answer}" for source, answer in zip(sources, answers(table, sources))]
    data.write_text("\n".join(lines) + "\n")
    main(["quantize", str(path), str(tmp_path / "small.onnx"), "--to", "float16", "--data", str(data)])
    assert "similarity to the references 1 -> 1" in capsys.readouterr().out
    data.write_text("abc\tABC\nabc ABC\n")
    with pytest.raises(InputError, match=r"Pair 2 of .* has 1 parts; expected a source, a tab and a reference"):
        read_samples(data, ())


def test_arrays_of_references_are_judged_the_same_way(translator, tmp_path):
    path, table = translator
    source = np.array([LETTERS.encode(text[:2]) for text in texts(20)])
    targets = table[source].argmax(-1)
    manifest = quantize(path, tmp_path / "small.onnx", "float16", samples={"source": source, "targets": targets})
    assert scores(manifest)["similarity"]["before"] == 1


def test_a_loss_of_similarity_is_refused(translator, tmp_path):
    path, table = translator
    pairs = list(zip(texts(50), answers(table, texts(50))))
    with pytest.raises(QuantizationError, match=r"similarity to the references went from 1 to 0\.9"):
        quantize(path, tmp_path / "small.onnx", samples=pairs, tolerance=0.0001)


def test_without_samples_its_first_tokens_are_compared(translator, tmp_path):
    path, _ = translator
    manifest = quantize(path, tmp_path / "small.onnx", "float16")
    assert manifest.quantization["data"] == "the first token for 64 random sources"


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ("a text", "give pairs of a source and what is to become of it"),
        ([("a", 3)], "expected pairs of texts"),
        ([("a", "b", "c")], "expected pairs of texts"),
    ],
)
def test_samples_that_do_not_suit_a_source_are_refused(translator, samples, message, tmp_path):
    with pytest.raises(InputError, match=message):
        quantize(translator[0], tmp_path / "small.onnx", samples=samples)


def test_sources_are_evaluated_without_a_prompt(echo_of):
    source, target = CharacterTokenizer(["<unk>", *"abc"]), CharacterTokenizer(["<unk>", *"xyz"])
    model = load(echo_of(TokenizerPair(source, target).to_json()))
    random, pairs = task_data(model, None, 4), task_data(model, [("abc", "zx"), ("b", "y")], 4)
    for batch in (*random.batches, *pairs.batches):
        assert (batch.feeds["prompt_length"] == 0).all()
        assert model.run(batch.feeds)["lengths"].shape == (len(batch.feeds["source"]),)
    assert pairs.batches[0].targets["tokens"].tolist() == [[3, 1], [2, 0]]  # in the target's own vocabulary
