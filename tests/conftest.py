"""Fixtures: small ONNX artefacts whose outputs are known by hand, written with onnx.helper, not by our exporter."""

import gc
import hashlib
import os
import random
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# What XLA compiles runs a few times: optimizing its machine code takes longer than it saves.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from _pytest import runner
from onnx import TensorProto, helper

from tests.on_jax import OnJax
from tfseq.runtime import CharacterTokenizer, Manifest, TensorSpec
from tfseq.runtime.external_data import ExternalData
from tfseq.runtime.manifest import StateSpec

ALPHABET = CharacterTokenizer(["<unk>", *"abcdefghij"])


def pytest_collection_finish() -> None:
    """TensorFlow's modules and graphs are many objects, which the garbage collector would walk through every second."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 100)
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is not None:  # graphs run a few times here: optimizing them takes longer than it saves
        tensorflow.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
        _trace_without_stacks()


def _trace_without_stacks() -> None:
    """TensorFlow notes with each operator of a graph where in the code it was made, for messages; here one place."""
    from tensorflow.python.util import tf_stack

    here = tf_stack.extract_stack()
    tf_stack.extract_stack = lambda *_, **__: here


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Runs a test where calls, however deep, find their place in memory that is there already.

    CPython keeps the frames of calls in blocks of 16 KB. Where a test happens to work at the edge of one, each call
    asks the operating system for the next block and gives it back: an operator of a graph then takes twice as long.
    A frame that needs half a megabyte gets a block of one.
    """
    return _in_a_large_frame(lambda: runner.pytest_runtest_protocol(item, nextitem))


def _in_a_large_frame(run: Callable[[], bool]) -> bool:
    return run()


_in_a_large_frame.__code__ = _in_a_large_frame.__code__.replace(co_stacksize=2**16)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Each test draws the same weights and numbers, whatever ran before it in its process."""
    random.seed(0)
    np.random.seed(0)
    keras = sys.modules.get("keras")
    if keras is not None:
        keras.utils.set_random_seed(0)


@pytest.fixture(scope="session")
def on_jax() -> Iterator[OnJax]:
    """Runs scripts on Keras' JAX backend, all in one process."""
    pytest.importorskip("jax")
    process = OnJax()
    yield process
    process.close()


@pytest.fixture
def counter(tmp_path) -> Path:
    """A file that generates: token j is (last token of the prompt + 1 + j + 10 * temperature + top_k + seed) mod 11.

    Its alphabet is a to j, its default temperature 0: it continues "ab" with "cdefghij", then the unknown token. The
    score of a row is -max_length.
    """
    return write_counter(tmp_path / "counter.onnx", "max_length")


@pytest.fixture
def old_counter(tmp_path) -> Path:
    """`counter` as the first tfseq wrote it: `max_length` is called `new_tokens`, and the only output is `tokens`."""
    return write_counter(tmp_path / "old_counter.onnx", "new_tokens")


def write_counter(path: Path, length: str) -> Path:
    nodes = [
        helper.make_node("Sub", ["prompt_length", "one"], ["last_position"]),
        helper.make_node("Unsqueeze", ["last_position", "axis_1"], ["last_index"]),
        helper.make_node("GatherElements", ["prompt", "last_index"], ["last"], axis=1),  # (batch, 1)
        helper.make_node("Add", [length, "one"], ["end"]),
        helper.make_node("Range", ["one", "end", "one"], ["steps"]),  # (new_tokens,)
        helper.make_node("Mul", ["temperature", "ten"], ["warmth"]),
        helper.make_node("Cast", ["warmth"], ["whole_warmth"], to=TensorProto.INT32),
    ]
    integers = {"last_f": "last", "steps_f": "steps", "warmth_f": "whole_warmth", "top_k_f": "top_k", "seed_f": "seed"}
    nodes += [helper.make_node("Cast", [x], [y], to=TensorProto.FLOAT) for y, x in integers.items()]
    nodes += [
        helper.make_node("Sum", ["last_f", "steps_f", "warmth_f", "top_k_f", "seed_f"], ["sum_f"]),
        helper.make_node("Cast", ["sum_f"], ["sum"], to=TensorProto.INT32),
        helper.make_node("Mod", ["sum", "vocabulary"], ["tokens"]),
    ]
    outputs = [TensorSpec("tokens", "int32", ("batch", "new_time"))]
    if length == "max_length":
        nodes += [
            helper.make_node("Shape", ["prompt_length"], ["rows"]),
            helper.make_node("Expand", [length, "rows"], ["lengths"]),
            helper.make_node("Cast", ["lengths"], ["lengths_f"], to=TensorProto.FLOAT),
            helper.make_node("Neg", ["lengths_f"], ["scores"]),
        ]
        outputs += [TensorSpec("lengths", "int32", ("batch",)), TensorSpec("scores", "float32", ("batch",))]
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
            TensorSpec(length, "int32", ()),
            TensorSpec("temperature", "float32", ()),
            TensorSpec("top_k", "int32", ()),
            TensorSpec("seed", "int32", ()),
        ),
        outputs=tuple(outputs),
        operators={"Add": 1, "Mod": 1},
        opset=18,
        tokenizer=ALPHABET.to_json(),
        decoding={"strategy": "sample", "temperature": 0.0, "top_k": 0, "seed": 0},
    )
    return write_artefact(path, nodes, constants, manifest)


@pytest.fixture
def copier(tmp_path) -> Path:
    """An encoder-decoder that writes its source again, up to max_length, each token with attention 1 to itself.

    Its alphabet is a to j; the score of a row is its length times the length penalty.
    """
    return write_copier(tmp_path / "copier.onnx", ALPHABET.to_json())


def write_copier(path: Path, tokenizer: Mapping[str, Any], source: str = "source") -> Path:
    nodes = [
        helper.make_node("Cast", ["max_length"], ["max_length_i"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["max_length_i", "one"], ["end"]),
        helper.make_node("Slice", [source, "zero", "end", "one"], ["tokens"]),
        helper.make_node("Cast", [source], ["is_real"], to=TensorProto.BOOL),
        helper.make_node("Cast", ["is_real"], ["real"], to=TensorProto.INT32),  # (batch, source_time)
        helper.make_node("ReduceSum", ["real", "one"], ["source_lengths"], keepdims=0),
        helper.make_node("Min", ["source_lengths", "max_length"], ["lengths"]),
        helper.make_node("Cast", ["lengths"], ["lengths_f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["lengths_f", "length_penalty"], ["scores"]),
        helper.make_node("Unsqueeze", ["real", "one"], ["wide"]),  # (batch, 1, source_time)
        helper.make_node("Cast", ["wide"], ["wide_f"], to=TensorProto.FLOAT),
        helper.make_node("Shape", [source], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["time"]),
        helper.make_node("Concat", ["time", "time"], ["square"], axis=0),
        helper.make_node("ConstantOfShape", ["square"], ["nothing"]),
        helper.make_node("EyeLike", ["nothing"], ["eye"]),
        helper.make_node("Slice", ["eye", "zero", "end", "zero"], ["rows"]),
        helper.make_node("Mul", ["rows", "wide_f"], ["attention"]),  # (batch, new_time, source_time)
    ]
    constants = [helper.make_tensor(name, TensorProto.INT64, [1], [i]) for i, name in enumerate(("zero", "one"))]
    manifest = Manifest(
        name="copier",
        task="generate",
        inputs=(
            TensorSpec(source, "int32", ("batch", "source_time")),
            TensorSpec("max_length", "int32", ()),
            TensorSpec("length_penalty", "float32", ()),
        ),
        outputs=(
            TensorSpec("tokens", "int32", ("batch", "new_time")),
            TensorSpec("lengths", "int32", ("batch",)),
            TensorSpec("scores", "float32", ("batch",)),
            TensorSpec("attention", "float32", ("batch", "new_time", "source_time")),
        ),
        operators={"Slice": 2},
        opset=18,
        tokenizer=tokenizer,
        decoding={"strategy": "beam", "width": 4, "length_penalty": 0.5, "max_length": 9, "start": 1, "end": 2},
    )
    return write_artefact(path, nodes, constants, manifest)


@pytest.fixture
def echo(tmp_path) -> Path:
    """An encoder-decoder that takes prompts beside its sources, and writes them again. Its alphabet is a to j."""
    return write_echo(tmp_path / "echo.onnx", ALPHABET.to_json())


@pytest.fixture
def echo_of(tmp_path) -> Callable[..., Path]:
    """Writes the file `echo` with another tokenizer, and fields of `decoding`."""
    return lambda *arguments, **named: write_echo(tmp_path / "echo.onnx", *arguments, **named)


def write_echo(path: Path, tokenizer: Mapping[str, Any], **decoding: Any) -> Path:
    nodes = [
        helper.make_node("Identity", ["prompt"], ["tokens"]),
        helper.make_node("Identity", ["prompt_length"], ["lengths"]),
        helper.make_node("Cast", ["prompt_length"], ["scores"], to=TensorProto.FLOAT),
    ]
    manifest = Manifest(
        name="echo",
        task="generate",
        inputs=(
            TensorSpec("source", "int32", ("batch", "source_time")),
            TensorSpec("prompt", "int32", ("batch", "time")),
            TensorSpec("prompt_length", "int32", ("batch",)),
            TensorSpec("max_length", "int32", ()),
        ),
        outputs=(
            TensorSpec("tokens", "int32", ("batch", "new_time")),
            TensorSpec("lengths", "int32", ("batch",)),
            TensorSpec("scores", "float32", ("batch",)),
        ),
        operators={"Identity": 2},
        opset=18,
        tokenizer=tokenizer,
        decoding={"strategy": "greedy", "start": 1, "end": 2, **decoding},
    )
    return write_artefact(path, nodes, [], manifest)


@pytest.fixture
def summer(tmp_path) -> Path:
    """A step file: the next token is (sum of all tokens read + position + index + seed) mod 11, 0 ends the text.

    Its alphabet is a to j. What it has read is a state that grows; the log-probability of a token is -1.
    """
    nodes = [
        helper.make_node("Unsqueeze", ["tokens", "axis_1"], ["column"]),
        helper.make_node("Concat", ["history", "column"], ["history_next"], axis=1),
        helper.make_node("ReduceSum", ["history_next", "axis_1"], ["total"], keepdims=0),
        helper.make_node("Add", ["total", "position"], ["with_position"]),
        helper.make_node("Add", ["with_position", "index"], ["with_index"]),
        helper.make_node("Add", ["with_index", "seed"], ["with_seed"]),
        helper.make_node("Mod", ["with_seed", "vocabulary"], ["chosen"]),
        helper.make_node("Cast", ["tokens"], ["tokens_f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["tokens_f", "zero_f"], ["zeros"]),
        helper.make_node("Sub", ["zeros", "one_f"], ["log_probability"]),
    ]
    constants = [
        helper.make_tensor("axis_1", TensorProto.INT64, [1], [1]),
        helper.make_tensor("vocabulary", TensorProto.INT32, [], [11]),
        helper.make_tensor("zero_f", TensorProto.FLOAT, [], [0.0]),
        helper.make_tensor("one_f", TensorProto.FLOAT, [], [1.0]),
    ]
    inputs = (TensorSpec("seed", "int32", ()), TensorSpec("history", "int32", ("batch", "entries")))
    outputs = (TensorSpec("history_next", "int32", ("batch", "entries_next")),)
    states = (StateSpec("history", "history_next", 0),)
    decoding = {"strategy": "sample", "seed": 0, "start": None, "end": 0}
    manifest = step_manifest("summer", inputs, outputs, states, ALPHABET.to_json(), decoding)
    return write_artefact(tmp_path / "summer.onnx", nodes, constants, manifest)


def write_reciter(path: Path, script: list[int], tokenizer: Mapping[str, Any] | None, end: int | None = None) -> Path:
    """A step file that writes the tokens of a script, whatever it reads; where it is, a state without axes counts."""
    nodes = [
        helper.make_node("Add", ["count", "one"], ["count_next"]),
        helper.make_node("Max", ["index", "zero"], ["line"]),
        helper.make_node("Reshape", ["line", "flat"], ["lines"]),
        helper.make_node("Gather", ["script", "lines"], ["chosen"]),
        helper.make_node("Cast", ["tokens"], ["log_probability"], to=TensorProto.FLOAT),
    ]
    constants = [
        helper.make_tensor("script", TensorProto.INT32, [len(script)], script),
        helper.make_tensor("flat", TensorProto.INT64, [1], [1]),
        helper.make_tensor("zero", TensorProto.INT32, [], [0]),
        helper.make_tensor("one", TensorProto.INT32, [], [1]),
    ]
    count, count_next = TensorSpec("count", "int32", ()), TensorSpec("count_next", "int32", ())
    decoding = {"strategy": "greedy", "start": None, "end": end}
    states = (StateSpec("count", "count_next", 0),)
    manifest = step_manifest("reciter", (count,), (count_next,), states, tokenizer, decoding)
    return write_artefact(path, nodes, constants, manifest)


def step_manifest(name, inputs, outputs, states, tokenizer, decoding) -> Manifest:
    return Manifest(
        name=name,
        task="stream_generate",
        inputs=(
            TensorSpec("tokens", "int32", ("batch",)),
            TensorSpec("position", "int32", ()),
            TensorSpec("index", "int32", ()),
            *inputs,
        ),
        outputs=(
            TensorSpec("chosen", "int32", ("batch",)),
            TensorSpec("log_probability", "float32", ("batch",)),
            *outputs,
        ),
        operators={"Add": 1},
        opset=18,
        tokenizer=tokenizer,
        decoding=decoding,
        states=states,
    )


@pytest.fixture
def accumulator(tmp_path) -> Path:
    """A file that reads chunks: x (batch, time) float32 to its running sums, the last of which is a state."""
    nodes = [
        helper.make_node("CumSum", ["x", "axis"], ["sums_of_chunk"]),
        helper.make_node("Add", ["sums_of_chunk", "sum"], ["sums"]),
        helper.make_node("ReduceSum", ["x", "axes"], ["sum_of_chunk"], keepdims=1),
        helper.make_node("Add", ["sum_of_chunk", "sum"], ["sum_next"]),
    ]
    constants = [
        helper.make_tensor("axis", TensorProto.INT64, [], [1]),
        helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
    ]
    manifest = Manifest(
        name="accumulator",
        task="predict",
        inputs=(TensorSpec("x", "float32", ("batch", "time")), TensorSpec("sum", "float32", ("batch", 1))),
        outputs=(TensorSpec("sums", "float32", ("batch", "time")), TensorSpec("sum_next", "float32", ("batch", 1))),
        operators={"Add": 2, "CumSum": 1, "ReduceSum": 1},
        opset=18,
        states=(StateSpec("sum", "sum_next", 0),),
    )
    return write_artefact(tmp_path / "accumulator.onnx", nodes, constants, manifest)


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
def outsourced(tmp_path) -> Path:
    """A file that predicts: x (batch, 4) to x + w, where w = (0, 1, 2, 3) is in outsourced.onnx.data beside it."""
    return write_outsourced(tmp_path / "outsourced.onnx", [0, 1, 2, 3])


def write_outsourced(path: Path, w: Sequence[float]) -> Path:
    x, y = (TensorSpec(name, "float32", ("batch", len(w))) for name in "xy")
    manifest = Manifest(name="adder", task="predict", inputs=(x,), outputs=(y,), operators={"Add": 1}, opset=18)
    constant = onnx.numpy_helper.from_array(np.array(w, np.float32), "w")
    write_artefact(path, [helper.make_node("Add", ["x", "w"], ["y"])], [constant], manifest)
    data = path.with_name(path.name + ".data")
    onnx.save_model(onnx.load(path), path, save_as_external_data=True, location=data.name, size_threshold=0)
    content = data.read_bytes()
    external = ExternalData(data.name, len(content), hashlib.sha256(content).hexdigest())
    model = onnx.load(path, load_external_data=False)
    helper.set_model_props(model, replace(manifest, external_data=external).to_metadata())
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def reciter(tmp_path) -> Callable[..., Path]:
    """Writes a step file that recites a script; see `write_reciter`."""
    return lambda *arguments, **named: write_reciter(tmp_path / "reciter.onnx", *arguments, **named)


@pytest.fixture
def copier_of(tmp_path) -> Callable[..., Path]:
    """Writes a `copier` with another tokenizer, or another name of its source."""
    return lambda *arguments, **named: write_copier(tmp_path / "copier.onnx", *arguments, **named)


@pytest.fixture
def outsource() -> Callable[[Path, Sequence[float]], Path]:
    """Writes a file as `outsourced`, with another w; returns its path."""
    return write_outsourced


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


_NAMES = {"float32": "FLOAT", "int32": "INT32", "string": "STRING"}
