"""Graphs read without their weights: what `onnx.load` reads, in the file or beside it, and no memory for the values."""

import contextlib
import tracemalloc

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tfseq.errors import ArtefactError
from tfseq.exporting.rewriting import all_graphs
from tfseq.exporting.rewriting.weights import is_hollow
from tfseq.exporting.writing.hollow_graph import LARGE, read_hollow
from tfseq.runtime.external_data import ExternalData

DTYPES = ("float32", "float16", "float64", "int32", "int64", "uint8")


def model_of(arrays):
    """Gives out its weights, of which a loop's body adds the first, which is its own, to itself."""
    types = [helper.np_dtype_to_tensor_dtype(array.dtype) for array in arrays]
    outputs = [helper.make_tensor_value_info(f"y{i}", types[i], array.shape) for i, array in enumerate(arrays)]
    tensors = [numpy_helper.from_array(a, f"w{i}") for i, a in enumerate(arrays)]
    nodes = [helper.make_node("Identity", [f"w{i}"], [f"y{i}"]) for i in range(1, len(arrays))]
    first = [helper.make_tensor_value_info(name, types[0], arrays[0].shape) for name in ("x", "z")]
    flags = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go", "still")]
    step = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["still"]), helper.make_node("Add", ["own", "own"], ["z"])],
        "body",
        [step, flags[0], first[0]],
        [flags[1], first[1]],
        [numpy_helper.from_array(arrays[0], "own")],
    )
    once = [numpy_helper.from_array(np.array(1), "once"), numpy_helper.from_array(np.array(True), "yes")]
    nodes.append(helper.make_node("Loop", ["once", "yes", "w0"], ["y0"], body=body))
    return helper.make_model(helper.make_graph(nodes, "g", [], outputs, [*once, *tensors]))


def arrays_of(seed, count):
    random = np.random.default_rng(seed)
    for _ in range(count):
        shape = random.integers(1, 50, random.integers(1, 4))
        yield (100 * random.normal(size=shape)).astype(DTYPES[random.integers(len(DTYPES))])


def saved(model, path, external):
    if not external:
        onnx.save(model, path)
        return None
    onnx.save(model, path, save_as_external_data=True, location="weights.data", size_threshold=0)
    return ExternalData.of(path.with_name("weights.data"))


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 5), external=st.booleans())
def test_filled_again_it_is_the_graph_that_onnx_loads(seed, count, external, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "model.onnx"
    model = model_of(list(arrays_of(seed, count)))
    read, weights = read_hollow(path, saved(model, path, external))
    expected = onnx.load(path)
    for graph, loaded in zip(all_graphs(read.graph), all_graphs(expected.graph), strict=True):
        for tensor, of_onnx in zip(graph.initializer, loaded.initializer, strict=True):
            assert (tensor.name, tensor.data_type, tensor.dims) == (of_onnx.name, of_onnx.data_type, of_onnx.dims)
            np.testing.assert_array_equal(weights.array(tensor), numpy_helper.to_array(of_onnx))
            assert is_hollow(tensor) or len(tensor.raw_data) < LARGE
    for rest in (read, expected):
        for graph in all_graphs(rest.graph):
            del graph.initializer[:]
    assert read.SerializeToString(deterministic=True) == expected.SerializeToString(deterministic=True)


@pytest.mark.parametrize("external", [False, True])
def test_reading_takes_no_memory_for_the_weights(external, tmp_path):
    array = np.full((2**12, 2**12), -1, "float32")  # 64 MB
    described = saved(model_of([array]), tmp_path / "model.onnx", external)
    tracemalloc.start()
    model, weights = read_hollow(tmp_path / "model.onnx", described)
    hollow = [t for g in all_graphs(model.graph) for t in g.initializer if is_hollow(t)]
    smallest = [float(weights.array(tensor).min()) for tensor in hollow]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert smallest.count(-1) == 2
    assert peak < 2**20


def test_weights_in_a_file_that_the_manifest_does_not_name_are_refused(tmp_path):
    path = tmp_path / "model.onnx"
    described = saved(model_of([np.zeros((64, 64), "float32")]), path, external=True)
    with pytest.raises(ArtefactError, match=r"looks for the weights .* where its manifest knows of none"):
        read_hollow(path, None)
    with pytest.raises(ArtefactError, match="its manifest knows of none"):
        read_hollow(path, ExternalData("other.data", described.bytes, described.sha256))
    with pytest.raises(ArtefactError, match="its manifest knows of none"):
        read_hollow(path, ExternalData(described.file, 100, described.sha256))


@settings(max_examples=60)
@given(cut=st.integers(0, 10**6), flip=st.integers(0, 10**6), seed=st.integers(0, 255))
def test_a_damaged_file_is_said_to_be_one_or_read(cut, flip, seed, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "model.onnx"
    content = bytearray(model_of([np.ones((40, 40), "float32")]).SerializeToString())
    content[flip % len(content)] ^= seed
    path.write_bytes(content[: cut % len(content)])
    with contextlib.suppress(ArtefactError):
        read_hollow(path, None)
