"""Files whose weights are streamed: read by onnx and by ONNX Runtime as if they had been serialized in one piece."""

import tracemalloc

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tfseq.exporting.rewriting.weights import INT4, Weights
from tfseq.exporting.writing.onnx_file import PAGE, OnnxFile
from tfseq.runtime.external_data import ExternalData

DTYPES = ("float32", "float16", "float64", "int32", "int64", "uint8")


def graph_of(arrays):
    """A graph that gives out its weights, which are hollow."""
    weights = Weights()
    hollow = [weights.hollow(f"w{i}", a.dtype, a.shape, lambda a=a: a) for i, a in enumerate(arrays)]
    outputs = [helper.make_tensor_value_info(f"y{i}", t.data_type, t.dims) for i, t in enumerate(hollow)]
    nodes = [helper.make_node("Identity", [f"w{i}"], [f"y{i}"]) for i in range(len(arrays))]
    graph = helper.make_graph(nodes, "g", [], outputs, hollow)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), weights


def arrays_of(seed, count):
    """Of random types and shapes; some transposed, as a weight is whose layout was changed."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        shape = random.integers(1, 40, random.integers(1, 4))
        array = (100 * random.normal(size=shape)).astype(DTYPES[random.integers(len(DTYPES))])
        yield array.T if random.random() < 0.5 else array


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 6), external=st.booleans())
def test_what_was_written_is_read_by_onnx_and_by_onnx_runtime(seed, count, external, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "model.onnx"
    arrays = list(arrays_of(seed, count))
    model, weights = graph_of(arrays)
    file = OnnxFile(path, weights, external)
    described = file.write(model)
    file.describe({"name": "a first and longer description"})
    file.describe({"name": "second", "seed": str(seed)})
    onnx.checker.check_model(path, full_check=True)
    found = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    assert file.holds_its_weights()
    for i, array in enumerate(arrays):
        assert found[f"w{i}"].dtype == array.dtype
        np.testing.assert_array_equal(found[f"w{i}"], array)
    session = onnxruntime.InferenceSession(path)
    assert session.get_modelmeta().custom_metadata_map == {"name": "second", "seed": str(seed)}
    for array, output in zip(arrays, session.run(None, {}), strict=True):
        np.testing.assert_array_equal(output, array)
    assert described == (ExternalData.of(path.with_name("model.onnx.data")) if external else None)


def test_a_file_in_one_piece_is_the_message_that_protobuf_would_write(tmp_path):
    model, weights = graph_of(list(arrays_of(1, 5)))
    file = OnnxFile(tmp_path / "model.onnx", weights, external=False)
    file.write(model)
    file.describe({})
    whole = onnx.load(tmp_path / "model.onnx")
    weights.fill(model)
    model.producer_name, model.producer_version = whole.producer_name, whole.producer_version
    assert whole.SerializeToString(deterministic=True) == model.SerializeToString(deterministic=True)


@settings(max_examples=20)
@given(shape=st.lists(st.integers(1, 9), min_size=1, max_size=3), external=st.booleans(), turned=st.booleans())
def test_integers_of_four_bits_are_written_two_to_a_byte(shape, external, turned, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "model.onnx"
    array = np.random.default_rng(0).integers(-8, 8, shape).astype(INT4)
    array = array.T if turned else array
    weights = Weights()
    hollow = weights.hollow("w", array.dtype, array.shape, lambda: array)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, array.shape)
    node = helper.make_node("DequantizeLinear", ["w", "one"], ["y"])
    graph = helper.make_graph(
        [node], "g", [], [output], [helper.make_tensor("one", TensorProto.FLOAT, [], [1]), hollow]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    file = OnnxFile(path, weights, external)
    file.write(model)
    file.describe({})
    onnx.checker.check_model(path, full_check=True)
    found = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    np.testing.assert_array_equal(found["w"], array)
    np.testing.assert_array_equal(onnxruntime.InferenceSession(path).run(None, {})[0], array.astype("float32"))
    assert file.holds_its_weights()
    if external:
        assert file.data.stat().st_size == (array.size + 1) // 2


def doubling_loop(weights, array):
    """A loop that adds the weight of its own to a value, which begins with that weight, three times."""
    hollow = weights.hollow("own", array.dtype, array.shape, lambda: array)
    outer = TensorProto()
    outer.CopyFrom(hollow)
    outer.name = "start"
    float_like = [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name in ("x", "y", "z")]
    flags = [helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("go", "still")]
    step = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    nodes = [helper.make_node("Add", ["x", "own"], ["y"]), helper.make_node("Identity", ["go"], ["still"])]
    body = helper.make_graph(nodes, "body", [step, flags[0], float_like[0]], [flags[1], float_like[1]], [hollow])
    small = [
        helper.make_tensor("three", TensorProto.INT64, [], [3]),
        helper.make_tensor("yes", TensorProto.BOOL, [], [1]),
    ]
    loop = helper.make_node("Loop", ["three", "yes", "start"], ["z"], body=body)
    graph = helper.make_graph([loop], "g", [], [float_like[2]], [*small, outer])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("external", [False, True])
def test_weights_of_a_loops_body_are_streamed_too(external, tmp_path):
    weights, array = Weights(), np.random.default_rng(0).normal(size=(64, 64)).astype("float32")
    model = doubling_loop(weights, array)
    path = tmp_path / "model.onnx"
    file = OnnxFile(path, weights, external)
    described = file.write(model)
    file.describe({})
    onnx.checker.check_model(path, full_check=True)
    np.testing.assert_array_equal(onnxruntime.InferenceSession(path).run(None, {})[0], array + array + array + array)
    assert file.holds_its_weights()
    if external:  # in which both tensors are at one place
        assert described.bytes == array.nbytes


def test_weights_beside_the_file_can_be_mapped_into_memory(tmp_path):
    model, weights = graph_of(list(arrays_of(2, 4)))
    OnnxFile(tmp_path / "model.onnx", weights, external=True).write(model)
    tensors = onnx.load(tmp_path / "model.onnx", load_external_data=False).graph.initializer
    places = [{entry.key: entry.value for entry in tensor.external_data} for tensor in tensors]
    assert {place["location"] for place in places} == {"model.onnx.data"}
    assert all(int(place["offset"]) % PAGE == 0 for place in places)


@pytest.mark.parametrize("external", [False, True])
def test_a_flipped_bit_in_the_weights_is_seen(external, tmp_path):
    array = np.arange(10_000, dtype="float32")
    model, weights = graph_of([array])
    file = OnnxFile(tmp_path / "model.onnx", weights, external)
    file.write(model)
    path = file.data or file.path
    content = bytearray(path.read_bytes())
    content[content.index(np.float32(5_000).tobytes())] ^= 1
    path.write_bytes(content)
    assert not file.holds_its_weights()


@pytest.mark.parametrize("external", [False, True])
def test_writing_takes_no_memory_for_the_weights(external, tmp_path):
    array = np.zeros((2**12, 2**12), "float32").T  # 64 MB, in an order that is not the file's
    model, weights = graph_of([array])
    file = OnnxFile(tmp_path / "model.onnx", weights, external)
    tracemalloc.start()
    file.write(model)
    assert file.holds_its_weights()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < array.nbytes


def test_a_hollow_tensor_changes_its_layout_when_it_is_read():
    random = np.random.default_rng(0)
    array = random.normal(size=(3, 4, 5)).astype("float32")
    weights = Weights()
    tensor = weights.hollow("w", array.dtype, array.shape, lambda: array)
    turned = weights.changed(tensor, "turned", lambda x: np.transpose(x, (2, 0, 1)))
    flat = weights.changed(turned, "flat", lambda x: x.reshape(15, 4))
    assert list(turned.dims) == [5, 3, 4]
    assert list(flat.dims) == [15, 4]
    assert flat.data_type == TensorProto.FLOAT
    np.testing.assert_array_equal(weights.array(flat), array.transpose(2, 0, 1).reshape(15, 4))
