"""Small artefacts whose answers are known by hand, made with onnx.helper and not with our exporter."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tfseq.runtime import CharacterTokenizer, Manifest, TensorSpec

ALPHABET = CharacterTokenizer(["<unk>", *"abcdefghij"])


@pytest.fixture
def counter(tmp_path) -> Path:
    """A file that generates: token j is (last token of the prompt + 1 + j + 10 * temperature + top_k + seed) mod 11.

    Its alphabet is a to j, its default temperature 0: it continues "ab" with "cdefghij", then the unknown symbol.
    """
    nodes = [
        helper.make_node("Sub", ["prompt_length", "one"], ["last_position"]),
        helper.make_node("Unsqueeze", ["last_position", "axis_1"], ["last_index"]),
        helper.make_node("GatherElements", ["prompt", "last_index"], ["last"], axis=1),  # (batch, 1)
        helper.make_node("Add", ["new_tokens", "one"], ["end"]),
        helper.make_node("Range", ["one", "end", "one"], ["steps"]),  # (new_tokens,)
        helper.make_node("Mul", ["temperature", "ten"], ["warmth"]),
        helper.make_node("Cast", ["warmth"], ["whole_warmth"], to=TensorProto.INT32),
        helper.make_node("Sum", ["last_f", "steps_f", "warmth_f", "top_k_f", "seed_f"], ["sum_f"]),
        helper.make_node("Cast", ["sum_f"], ["sum"], to=TensorProto.INT32),
        helper.make_node("Mod", ["sum", "vocabulary"], ["tokens"]),
    ]
    integers = {"last_f": "last", "steps_f": "steps", "warmth_f": "whole_warmth", "top_k_f": "top_k", "seed_f": "seed"}
    casts = [helper.make_node("Cast", [x], [y], to=TensorProto.FLOAT) for y, x in integers.items()]
    constants = [
        helper.make_tensor("one", TensorProto.INT32, [], [1]),
        helper.make_tensor("axis_1", TensorProto.INT64, [1], [1]),
        helper.make_tensor("ten", TensorProto.FLOAT, [], [10.0]),
        helper.make_tensor("vocabulary", TensorProto.INT32, [], [11]),
    ]
    manifest = Manifest(
        name="counter",
        task="generate",
        inputs=(
            TensorSpec("prompt", "int32", ("batch", "time")),
            TensorSpec("prompt_length", "int32", ("batch",)),
            TensorSpec("new_tokens", "int32", ()),
            TensorSpec("temperature", "float32", ()),
            TensorSpec("top_k", "int32", ()),
            TensorSpec("seed", "int32", ()),
        ),
        outputs=(TensorSpec("tokens", "int32", ("batch", "new_tokens")),),
        operators={"Add": 1, "Mod": 1},
        opset=18,
        tokenizer=ALPHABET.to_json(),
        decoding={"strategy": "sample", "temperature": 0.0, "top_k": 0, "seed": 0},
    )
    return write_artefact(tmp_path / "counter.onnx", nodes[:7] + casts + nodes[7:], constants, manifest)


@pytest.fixture
def shifter(tmp_path) -> Path:
    """A file that predicts: x (batch, 3) float32 and by (batch,) int32 to x + by (batch, 3), and to the total, ()."""
    nodes = [
        helper.make_node("Cast", ["by"], ["by_f"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["by_f", "axis_1"], ["column"]),
        helper.make_node("Add", ["x", "column"], ["shifted"]),
        helper.make_node("ReduceSum", ["shifted"], ["total"], keepdims=0),
    ]
    constants = [helper.make_tensor("axis_1", TensorProto.INT64, [1], [1])]
    manifest = Manifest(
        name="shifter",
        task="predict",
        inputs=(TensorSpec("x", "float32", ("batch", 3)), TensorSpec("by", "int32", ("batch",))),
        outputs=(TensorSpec("shifted", "float32", ("batch", 3)), TensorSpec("total", "float32", ())),
        operators={"Add": 1, "Cast": 1, "ReduceSum": 1, "Unsqueeze": 1},
        opset=18,
        provenance={"tfseq": "0.1.0", "parameters": 1234567, "data": {"file": "numbers.txt"}},
        parity={
            "passed": True,
            "checks": [
                {
                    "name": "outputs",
                    "of": "onnx",
                    "against": "keras",
                    "cases": 12,
                    "worst_absolute": 1.2e-6,
                    "worst_relative": 3e-5,
                    "tolerance": 1e-4,
                    "where": "batch 3",
                },
                {"name": "tokens", "of": "onnx", "against": "keras", "sequences": 100, "identical": 100},
            ],
        },
    )
    return write_artefact(tmp_path / "shifter.onnx", nodes, constants, manifest)


@pytest.fixture
def write() -> Callable[[Path, list, list, Manifest], Path]:
    """Writes an artefact of nodes, constants and a manifest, which has the signature; returns its path."""
    return write_artefact


def write_artefact(path: Path, nodes: list, constants: list, manifest: Manifest) -> Path:
    inputs, outputs = ([_value_info(spec) for spec in specs] for specs in (manifest.inputs, manifest.outputs))
    graph = helper.make_graph(nodes, manifest.name, inputs, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", manifest.opset)], ir_version=8)
    helper.set_model_props(model, manifest.to_metadata())
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def _value_info(spec: TensorSpec) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(spec.name, TensorProto.DataType.Value(_NAMES[spec.dtype]), spec.shape)


_NAMES = {"float32": "FLOAT", "int32": "INT32"}
