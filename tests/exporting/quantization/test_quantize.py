"""`quantize`: accuracy checks, the tolerance as a gate, the record in the manifest, refusals."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from onnx import TensorProto, helper, numpy_helper

from tfseq.errors import ExportError, InputError, QuantizationError
from tfseq.exporting import quantize
from tfseq.exporting.writing.onnx_file import OnnxFile
from tfseq.runtime import CharacterTokenizer, Manifest, TensorSpec, load

RANDOM = np.random.default_rng(0)
TABLE = RANDOM.normal(size=(64, 64)).astype("float32")
LETTERS = CharacterTokenizer(["<unk>", *map(chr, range(64, 64 + 63))])


@pytest.fixture
def classifier(tmp_path, write) -> Path:
    """x (batch, 32) to 32 logits: of class i, 10 times the i-th number, and a little."""
    weight = (10 * np.eye(32) + 0.1 * TABLE[:32, :32]).astype("float32")
    manifest = Manifest(
        name="classifier",
        task="predict",
        inputs=(TensorSpec("x", "float32", ("batch", 32)),),
        outputs=(TensorSpec("logits", "float32", ("batch", 32)),),
        operators={"MatMul": 1},
        opset=18,
        provenance={"weights_sha256": "abc"},
        parity={"passed": True, "checks": []},
    )
    nodes = [helper.make_node("MatMul", ["x", "w"], ["logits"])]
    return write(tmp_path / "classifier.onnx", nodes, [numpy_helper.from_array(weight, "w")], manifest)


@pytest.fixture
def bigrams(tmp_path, write) -> Path:
    """A file that reads characters: the logits of the next one are a row of TABLE."""
    manifest = Manifest(
        name="bigrams",
        task="predict",
        inputs=(TensorSpec("tokens", "int32", ("batch", "time")),),
        outputs=(TensorSpec("logits", "float32", ("batch", "time", 64)),),
        operators={"Gather": 1},
        opset=18,
        tokenizer=LETTERS.to_json(),
    )
    nodes = [helper.make_node("Gather", ["table", "tokens"], ["logits"])]
    return write(tmp_path / "bigrams.onnx", nodes, [numpy_helper.from_array(TABLE, "table")], manifest)


@pytest.fixture
def bigram_generator(tmp_path, write) -> Path:
    """A file that generates one character: the most likely after the prompt's last one."""
    manifest = Manifest(
        name="generator",
        task="generate",
        inputs=(
            TensorSpec("prompt", "int32", ("batch", "time")),
            TensorSpec("prompt_length", "int32", ("batch",)),
            TensorSpec("new_tokens", "int32", ()),
        ),
        outputs=(TensorSpec("tokens", "int32", ("batch", 1)),),
        operators={"Gather": 1},
        opset=18,
        tokenizer=LETTERS.to_json(),
        decoding={"strategy": "greedy"},
    )
    nodes = [
        helper.make_node("Sub", ["prompt_length", "one"], ["last"]),
        helper.make_node("Unsqueeze", ["last", "axis"], ["place"]),
        helper.make_node("GatherElements", ["prompt", "place"], ["token"], axis=1),
        helper.make_node("Gather", ["table", "token"], ["logits"]),  # (batch, 1, 64)
        helper.make_node("ArgMax", ["logits"], ["best"], axis=-1, keepdims=0),
        helper.make_node("Cast", ["best"], ["tokens"], to=TensorProto.INT32),
    ]
    constants = [
        numpy_helper.from_array(TABLE, "table"),
        numpy_helper.from_array(np.array(1, "int32"), "one"),
        numpy_helper.from_array(np.array([1]), "axis"),
    ]
    return write(tmp_path / "generator.onnx", nodes, constants, manifest)


def scores(manifest):
    return {score["metric"]: score for score in manifest.quantization["scores"]}


def one_hot(classes):
    return np.eye(32, dtype="float32")[classes]


def test_a_quantized_file_records_its_accuracy_drop_and_speed_up(classifier, tmp_path):
    small = tmp_path / "small.onnx"
    classes = np.arange(32)
    manifest = quantize(classifier, small, samples={"x": one_hot(classes), "targets": classes})
    record = load(small).manifest.quantization
    assert record == json.loads(json.dumps(manifest.quantization))
    assert record["bytes"] == {"before": classifier.stat().st_size, "after": small.stat().st_size}
    assert record["weights"] == {"multiplied": 1024, "stored": 0, "kept": 0}
    assert record["milliseconds"]["of"] == "batch 1"
    assert record["milliseconds"]["low"] <= record["milliseconds"]["faster"] <= record["milliseconds"]["high"]
    assert record["gate"] == {"metric": "cross_entropy", "tolerance": 0.02}
    assert record["data"] == "32 samples"
    assert scores(manifest)["accuracy"]["before"] == scores(manifest)["accuracy"]["after"] == 1
    assert manifest.operators["MatMulInteger"] == 1


def test_the_original_keeps_its_parity_and_provenance(classifier, tmp_path):
    original = load(classifier).manifest
    manifest = quantize(classifier, tmp_path / "small.onnx", "float16")
    assert (manifest.parity, manifest.provenance) == (original.parity, original.provenance)
    assert (manifest.inputs, manifest.outputs) == (original.inputs, original.outputs)
    assert original.quantization is None


def test_a_text_is_judged_in_nats_per_character(bigrams, tmp_path):
    text = "".join(RANDOM.choice(LETTERS.symbols[1:], 600))
    manifest = quantize(bigrams, tmp_path / "small.onnx", samples=text)
    ids = LETTERS.encode(text)[: 4 * 128 + 1]  # whole windows
    logits = TABLE[ids[:-1]].astype("float64")
    nats = np.log(np.exp(logits).sum(-1)) - logits[np.arange(512), ids[1:]]
    score = scores(manifest)["cross_entropy"]
    assert score["what"] == "nats per character"
    assert score["before"] == pytest.approx(nats.mean(), rel=1e-6)
    assert score["after"] == pytest.approx(nats.mean(), abs=0.01)
    assert scores(manifest)["accuracy"]["before"] == np.mean(logits.argmax(-1) == ids[1:])


def test_a_generator_is_judged_by_the_next_token_all_over_a_text(bigram_generator, tmp_path):
    text = "".join(RANDOM.choice(LETTERS.symbols[1:], 300))
    manifest = quantize(bigram_generator, tmp_path / "small.onnx", samples=text, tolerance=1)
    ids = LETTERS.encode(text)
    best = TABLE.argmax(-1)
    assert manifest.quantization["data"] == "the next character at 236 places of a text"
    assert scores(manifest)["accuracy"]["before"] == np.mean(best[ids[63:-1]] == ids[64:])
    scales = np.abs(TABLE).max(1, keepdims=True) / 127
    same = (np.rint(TABLE / scales) * scales).argmax(-1) == best
    assert scores(manifest)["change"]["after"] == pytest.approx(np.mean(same[ids[63:-1]]))


def test_without_samples_it_is_judged_by_the_change_of_outputs(classifier, bigram_generator, tmp_path):
    manifest = quantize(classifier, tmp_path / "small.onnx")
    assert manifest.quantization["gate"] == {"metric": "change", "tolerance": 0.1}
    assert 0 < scores(manifest)["change"]["loss"] < 0.05
    manifest = quantize(bigram_generator, tmp_path / "small.onnx", "float16")
    assert scores(manifest)["change"]["what"] == "outputs identical to the original's"


def test_a_metric_can_be_given(classifier, tmp_path):
    def largest(outputs, targets):
        assert targets["logits"].shape == (40,)
        return outputs["logits"].max()

    samples = {"x": one_hot(np.arange(40) % 32), "targets": np.zeros(40, int)}
    manifest = quantize(classifier, tmp_path / "small.onnx", samples=samples, metric=largest, tolerance=1)
    assert manifest.quantization["gate"] == {"metric": "given", "tolerance": 1}
    assert scores(manifest)["given"]["before"] == pytest.approx(10, abs=0.5)


def test_a_file_that_loses_too_much_is_not_kept(classifier, tmp_path):
    small = tmp_path / "small.onnx"
    small.write_bytes(b"what stood here before")
    with pytest.raises(QuantizationError, match=r"change of the outputs .* at most 0 is allowed"):
        quantize(classifier, small, tolerance=0)
    assert small.read_bytes() == b"what stood here before"
    assert sorted(os.listdir(tmp_path)) == ["classifier.onnx", "small.onnx"]


def test_a_file_can_take_the_place_of_its_original_once(classifier):
    quantize(classifier, classifier)
    with pytest.raises(ExportError, match="quantized already"):
        quantize(classifier, classifier)


def test_a_full_disk_leaves_the_old_file(classifier, tmp_path, monkeypatch):
    def full(file, model):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "small.onnx").write_bytes(b"old")
    monkeypatch.setattr(OnnxFile, "write", full)
    with pytest.raises(ExportError, match=r"Can't write .*small.onnx: No space left on device"):
        quantize(classifier, tmp_path / "small.onnx")
    assert (tmp_path / "small.onnx").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["classifier.onnx", "small.onnx"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"to": "int2"}, "to is 'int2'; expected int4, int8, float16"),
        ({"to": "float16", "contrib": True}, "contrib changes int4 and int8 only"),
        ({"to": "float16", "block_size": 32}, "block_size changes int4 and int8 only"),
        ({"to": "int4", "block_size": 20}, "block_size is 20; expected 16, 32, 64, 128, 256, or None"),
        ({"metric": "bleu"}, "metric is 'bleu'"),
        ({"metric": "accuracy"}, "accuracy needs samples with targets"),
        ({"metric": lambda outputs, targets: 0}, "needs a tolerance"),
        ({"tolerance": -1}, "tolerance is -1"),
        ({"samples": "a text"}, "no tokenizer"),
        ({"samples": []}, "no samples"),
        ({"samples": {"y": [1]}}, "hold y; expected the inputs x float32"),
        ({"samples": {"x": np.ones((2, 5))}}, "Axis 1 of the input 'x' has size 5"),
        ({"samples": {"x": np.ones((2, 32)), "targets": [1, 2, 3]}}, "expected 2 rows"),
        ({"samples": {"x": np.ones((2, 32)), "targets": [1, 99]}}, "A target of logits is 99; its classes are 0 to 31"),
        ({"samples": {"x": np.ones((2, 32)), "targets": np.ones((2, 3))}}, r"targets of logits are float64 \(2, 3\)"),
        (
            {"samples": {"x": np.ones((2, 32)), "targets": [1, 2]}, "metric": "squared_error"},
            "squared_error can't be measured .* cross_entropy, accuracy, change can",
        ),
    ],
)
def test_what_does_not_fit_is_said(classifier, tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        quantize(classifier, tmp_path / "small.onnx", **arguments)
    assert os.listdir(tmp_path) == ["classifier.onnx"]


@pytest.mark.parametrize(
    ("output", "message"),
    [("small.txt", "does not end in .onnx"), ("missing/small.onnx", "no folder"), ("folder.onnx", "is a folder")],
)
def test_an_output_that_cannot_be_is_said(classifier, tmp_path, output, message):
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ExportError, match=message):
        quantize(classifier, tmp_path / output)


def test_a_file_without_weights_is_refused(shifter, tmp_path):
    with pytest.raises(ExportError, match="no weights"):
        quantize(shifter, tmp_path / "small.onnx")


def test_a_file_that_random_inputs_do_not_suit_asks_for_samples(tmp_path, write):
    manifest = Manifest(
        name="picky",
        task="predict",
        inputs=(TensorSpec("x", "float32", ("batch", "time")),),
        outputs=(TensorSpec("y", "float32", ("batch", 64)),),
        operators={},
        opset=18,
    )
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]  # which takes a time of 64 and no other
    path = write(tmp_path / "picky.onnx", nodes, [numpy_helper.from_array(TABLE, "w")], manifest)
    with pytest.raises(InputError, match=r"Random inputs don't suit .*picky.onnx; give samples"):
        quantize(path, tmp_path / "small.onnx")
    assert quantize(path, tmp_path / "small.onnx", samples={"x": np.ones((2, 64))})


def test_a_file_that_would_not_be_smaller_is_refused(tmp_path, write):
    nodes, names = [], ["x"]
    for i in range(60):
        nodes.append(helper.make_node("MatMul", [names[-1], "w"], [f"y{i}"]))
        names.append(f"y{i}")
    manifest = Manifest(
        name="deep",
        task="predict",
        inputs=(TensorSpec("x", "float32", ("batch", 32)),),
        outputs=(TensorSpec(names[-1], "float32", ("batch", 32)),),
        operators={},
        opset=18,
    )
    path = write(tmp_path / "deep.onnx", nodes, [numpy_helper.from_array(np.eye(32, dtype="f"), "w")], manifest)
    with pytest.raises(ExportError, match="would not be smaller"):
        quantize(path, tmp_path / "small.onnx")


@pytest.mark.parametrize("to", ["int8", "float16"])
def test_the_steps_are_told(classifier, tmp_path, to):
    told: list[str] = []
    quantize(classifier, tmp_path / "small.onnx", to, progress=told.append)
    assert told == [f"converting to {to}", "comparing on 64 random inputs", "timing both"]
    assert_array_equal(load(tmp_path / "small.onnx").predict(np.zeros((1, 32))), np.zeros((1, 32)))
