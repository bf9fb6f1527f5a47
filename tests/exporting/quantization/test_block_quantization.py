"""Weight quantization in blocks of graphs built by hand: what ONNX Runtime computes and what it fuses."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from onnx import TensorProto, helper, numpy_helper

from tests.exporting.quantization.test_weight_quantization import TABLE, loop, lstm, model_of, tied
from tfseq.exporting.quantization.block_quantization import to_blocks
from tfseq.exporting.quantization.blocks import SIZES
from tfseq.exporting.rewriting import all_graphs, count_operators

RANDOM = np.random.default_rng(0)
EACH = pytest.mark.parametrize("contrib", [False, True])


def in_blocks(matrix, bits, size):
    """A matrix quantized and dequantized, column by column and block by block."""
    result = np.empty_like(matrix)
    for column in range(matrix.shape[1]):
        for first in range(0, len(matrix), size):
            block = matrix[first : first + size, column]
            furthest = block[np.abs(block).argmax()]
            scale = furthest / -8 if bits == 4 else abs(furthest) / 127
            levels = (-8, 7) if bits == 4 else (-127, 127)
            result[first : first + size, column] = np.clip(np.rint(block / scale), *levels) * scale
    return result


def opened(model, path=None, exact=True):
    """A session; exact where ONNX Runtime multiplies in float32, as it does if it is asked to."""
    if path is None:
        onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if path is not None:
        options.optimized_model_filepath = str(path)
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1" if exact else "4")
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def run(model, exact=True, **feeds):
    return opened(model, exact=exact).run(None, feeds)[0]


def run_by_onnx_runtime(model, path):
    """Operators of the graph that ONNX Runtime makes of a file's."""
    opened(model, path)
    return count_operators(onnx.load(path).graph)


def large_types(model):
    """How many values are stored in each type, in weights of more than 64 values."""
    counts: Counter = Counter()
    for g in all_graphs(model.graph):
        for tensor in g.initializer:
            if np.prod(tensor.dims) > 64:
                counts[TensorProto.DataType.Name(tensor.data_type)] += int(np.prod(tensor.dims))
    return counts


def product_of(weight, operator="MatMul", **attributes):
    rows, columns = weight.shape[::-1] if attributes.get("transB") else weight.shape
    node = helper.make_node(operator, ["x", "w"], ["y"], **attributes)
    return model_of([node], {"w": weight}, {"x": ["batch", rows]}, {"y": ["batch", columns]})


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 150),
    columns=st.integers(1, 60),
    bits=st.sampled_from([4, 8]),
    size=st.sampled_from([16, 32, 64, 128]),
    contrib=st.booleans(),
    form=st.sampled_from(["MatMul", "Gemm", "transB"]),
    seed=st.integers(0, 100),
)
def test_a_product_is_that_with_the_weights_of_blocks(rows, columns, bits, size, contrib, form, seed):
    columns = max(columns, 2, -(-1024 // rows))  # fewer values are not quantized
    rows = max(rows, 2)
    random = np.random.default_rng(seed)
    weight = random.normal(size=(rows, columns)).astype("float32")
    x = random.normal(size=(3, rows)).astype("float32")
    model = product_of(weight.T.copy(), "Gemm", transB=1) if form == "transB" else product_of(weight, form)
    counts = to_blocks(model, f"int{bits}", size, contrib)
    assert (counts.multiplied, counts.stored, counts.kept) == (weight.size, 0, 0)
    expected = x @ in_blocks(weight, bits, size)
    error = np.abs(run(model, x=x) - expected).max() / np.abs(expected).max()
    assert error < (0.02 if contrib else 1e-5)  # contrib asks for int8 activations


def test_blocks_of_four_bits_lose_little():
    weight = RANDOM.normal(size=(256, 64)).astype("float32")
    x = RANDOM.normal(size=(8, 256)).astype("float32")
    model = product_of(weight)
    to_blocks(model, "int4", 32)
    difference = run(model, exact=False, x=x) - x @ weight
    assert np.linalg.norm(difference) < 0.12 * np.linalg.norm(x @ weight)


@EACH
@pytest.mark.parametrize("to", ["int4", "int8"])
def test_no_row_depends_on_another(to, contrib):
    model = product_of(RANDOM.normal(size=(96, 64)).astype("float32"))
    to_blocks(model, to, 32, contrib)
    x = RANDOM.normal(size=(6, 96)).astype("float32")
    others = x.copy()
    others[1:] *= 1000
    np.testing.assert_array_equal(run(model, exact=False, x=x)[0], run(model, exact=False, x=others)[0])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("to", ["int4", "int8"])
@pytest.mark.parametrize("form", ["MatMul", "Gemm", "transB", "transposed"])
def test_onnx_runtime_multiplies_blocks_as_they_are(to, form, size, tmp_path):
    weight = RANDOM.normal(size=(100, 64)).astype("float32")
    model = product_of(weight, "Gemm" if form == "transB" else "MatMul" if form == "transposed" else form)
    if form == "transB":
        model = product_of(weight.T.copy(), "Gemm", transB=1)
    if form == "transposed":
        nodes = [
            helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
            helper.make_node("MatMul", ["x", "t"], ["y"]),
        ]
        model = model_of(nodes, {"w": weight.T.copy()}, {"x": ["batch", 100]}, {"y": ["batch", 64]})
    to_blocks(model, to, size)
    assert {node.domain for node in model.graph.node} == {""}
    assert run_by_onnx_runtime(model, tmp_path / "fused.onnx") == {"MatMulNBits": 1}


def test_products_of_a_loop_are_of_blocks_in_its_body(tmp_path):
    model = loop()
    to_blocks(model, "int4", 32)
    (body,) = [a.g for node in model.graph.node for a in node.attribute if a.name == "body"]
    assert [t.data_type for t in body.initializer] == [TensorProto.INT4, TensorProto.FLOAT]
    fused = run_by_onnx_runtime(model, tmp_path / "fused.onnx")
    assert fused["MatMulNBits"] == 1
    assert "MatMul" not in fused


@EACH
@pytest.mark.parametrize("to", ["int4", "int8"])
def test_a_loop_computes_with_the_weights_of_blocks(to, contrib):
    model = loop()
    x = RANDOM.normal(size=(3, 64)).astype("float32")
    expected = x
    rows = TABLE[::-1]
    scales = np.abs(rows).max(1, keepdims=True) / 127
    weight = in_blocks(0.1 * TABLE, int(to[3:]), 32)
    for i in range(3):
        expected = np.tanh(expected @ weight + np.rint(rows[i] / scales[i]) * scales[i])
    counts = to_blocks(model, to, 32, contrib)
    assert (counts.multiplied, counts.stored, counts.kept) == (TABLE.size, TABLE.size, 0)
    assert_allclose(run(model, x=x), expected, atol=0.02 if contrib else 1e-5)


def twice():
    """A weight that a loop's body multiplies with, and its surroundings, as reading a prompt and generating do."""
    model = loop()
    before = helper.make_node("MatMul", ["x", "w"], ["x_first"])
    (node,) = model.graph.node
    node.input[2] = "x_first"
    model.graph.node.insert(0, before)
    return model


def test_a_weight_of_two_graphs_is_stored_in_each(tmp_path):
    model = twice()
    counts = to_blocks(model, "int4", 32)
    assert (counts.multiplied, counts.stored, counts.kept) == (TABLE.size, TABLE.size, 0)
    assert large_types(model)["INT4"] == 2 * TABLE.size
    assert run_by_onnx_runtime(model, tmp_path / "fused.onnx")["MatMulNBits"] == 2


def test_with_contrib_a_weight_of_two_graphs_is_stored_once():
    model = twice()
    x = RANDOM.normal(size=(3, 64)).astype("float32")
    expected = run(model, x=x)
    to_blocks(model, "int4", 32, contrib=True)
    assert large_types(model)["UINT8"] == TABLE.size // 2
    assert count_operators(model.graph)["MatMulNBits"] == 2
    assert {opset.domain for opset in model.opset_import} == {"", "com.microsoft"}
    assert np.abs(run(model, x=x) - expected).mean() < 0.1


@EACH
def test_tied_embeddings_are_looked_up_by_rows_and_multiplied_in_blocks(contrib):
    embeddings = TABLE[:, :32] * np.linspace(0.1, 3, 64, dtype="float32")[:, None]
    model, x = tied(embeddings), np.array([0, 63, 5], "float32")
    counts = to_blocks(model, "int4", 16, contrib)
    assert (counts.multiplied, counts.stored, counts.kept) == (embeddings.size, 0, 0)
    scales = np.abs(embeddings).max(1, keepdims=True) / 127
    rows = (np.rint(embeddings / scales) * scales)[[0, 63, 5]]
    expected = rows @ in_blocks(embeddings.T, 4, 16)
    assert_allclose(run(model, x=x), expected, atol=1 if contrib else 1e-3)  # of up to 300
    assert "FLOAT" not in {name for name, count in large_types(model).items() if count > 200}


@EACH
def test_a_weight_of_several_products_in_one_graph_is_stored_once(contrib, tmp_path):
    """ONNX Runtime would dequantize it in every run; so it does so as it loads the file."""
    weight = RANDOM.normal(size=(40, 40)).astype("float32")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("MatMul", ["a", "w"], ["y"])]
    model = model_of(nodes, {"w": weight}, {"x": ["batch", 40]}, {"y": ["batch", 40]})
    counts = to_blocks(model, "int4", 32, contrib)
    assert (counts.multiplied, counts.stored) == ((weight.size, 0) if contrib else (0, weight.size))
    x = RANDOM.normal(size=(3, 40)).astype("float32")
    near = in_blocks(weight, 4, 32)
    assert_allclose(run(model, x=x), x @ near @ near, atol=3 if contrib else 1e-3)
    fused = run_by_onnx_runtime(model, tmp_path / "fused.onnx")
    assert fused == ({"MatMulNBits": 2} if contrib else {"MatMul": 2})


def test_gemm_keeps_its_bias():
    weight, bias = RANDOM.normal(size=(40, 32)).astype("float32"), RANDOM.normal(size=32).astype("float32")
    x = RANDOM.normal(size=(3, 40)).astype("float32")
    for contrib in (False, True):
        node = helper.make_node("Gemm", ["x", "w", "b"], ["y"])
        model = model_of([node], {"w": weight, "b": bias}, {"x": ["batch", 40]}, {"y": ["batch", 32]})
        to_blocks(model, "int8", 32, contrib)
        assert_allclose(run(model, x=x), x @ in_blocks(weight, 8, 32) + bias, atol=0.5 if contrib else 1e-4)


@pytest.mark.parametrize("to", ["int4", "int8"])
def test_recurrent_operators_compute_in_float32_with_weights_of_blocks(to, tmp_path):
    model, near = lstm(), lstm()
    for name, tensor in zip("wrb", model.graph.initializer, strict=True):
        values = numpy_helper.to_array(tensor)  # (directions, 4 units, inputs)
        if name != "b":
            values = np.stack([in_blocks(direction.T, int(to[3:]), 16).T for direction in values])
        near.graph.initializer["wrb".index(name)].CopyFrom(numpy_helper.from_array(values, name))
    counts = to_blocks(model, to, 16)
    assert (counts.multiplied, counts.stored, counts.kept) == (0, 2 * 64 * (8 + 16), 256)
    x = RANDOM.normal(size=(6, 3, 8)).astype("float32")
    assert_allclose(run(model, x=x), run(near, x=x), atol=1e-5)
    assert run_by_onnx_runtime(model, tmp_path / "folded.onnx") == {"LSTM": 1}  # dequantized as it is loaded


@settings(max_examples=15, deadline=None)
@given(channels=st.integers(2, 9), width=st.integers(1, 5), filters=st.integers(30, 60), seed=st.integers(0, 50))
def test_convolutions_have_blocks_within_each_filter(channels, width, filters, seed):
    random = np.random.default_rng(seed)
    kernel = random.normal(size=(filters, channels, width, 5)).astype("float32")
    if kernel.size < 1024:
        kernel = np.concatenate([kernel] * 4)
    x = random.normal(size=(2, channels, 6, 7)).astype("float32")
    flat = in_blocks(kernel.reshape(len(kernel), -1).T, 4, 32).T.reshape(kernel.shape)
    models = [
        model_of(
            [helper.make_node("Conv", ["x", "k"], ["y"])],
            {"k": values},
            {"x": ["batch", channels, 6, 7]},
            {"y": ["batch", len(kernel), 7 - width, 3]},
        )
        for values in (kernel, flat)
    ]
    assert to_blocks(models[0], "int4", 32).stored == kernel.size
    assert_allclose(run(models[0], x=x), run(models[1], x=x), atol=1e-4)


def test_weights_of_other_operators_stay_in_float32():
    position = RANDOM.normal(size=(32, 32)).astype("float32")
    nodes = [helper.make_node("Add", ["x", "p"], ["y"])]
    model = model_of(nodes, {"p": position}, {"x": ["batch", 32, 32]}, {"y": ["batch", 32, 32]})
    assert to_blocks(model, "int4", 32).kept == position.size
    x = RANDOM.normal(size=(2, 32, 32)).astype("float32")
    np.testing.assert_array_equal(run(model, x=x), x + position)


def test_a_matrix_that_is_also_added_keeps_its_values_there():
    weight = RANDOM.normal(size=(40, 40)).astype("float32")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["a"]), helper.make_node("Add", ["a", "w"], ["y"])]
    model = model_of(nodes, {"w": weight}, {"x": [40, 40]}, {"y": [40, 40]})
    to_blocks(model, "int8", 32)
    x = RANDOM.normal(size=(40, 40)).astype("float32")
    assert_allclose(run(model, x=x), x @ weight + weight, atol=0.5)


def test_a_graph_of_an_older_opset_is_lifted():
    model = product_of(RANDOM.normal(size=(40, 40)).astype("float32"))
    assert model.opset_import[0].version == 18
    to_blocks(model, "int4", 32)
    assert model.opset_import[0].version == 21
