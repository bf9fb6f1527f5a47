"""LSTMs of one decode step as products, against ONNX Runtime's LSTM."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tfseq.exporting.quantization.lstm_as_products import steps_as_products
from tfseq.exporting.quantization.weight_quantization import to_int8
from tfseq.exporting.rewriting import all_graphs, count_operators
from tfseq.runtime.session import Session

UNITS, WIDTH = 16, 24


def loop_of_steps(bias=True, **attributes):
    """x (rows, WIDTH) read again and again: `steps` () int64 to h and c (rows, UNITS), from zeros."""
    random = np.random.default_rng(0)
    constants = {
        "axis": np.array([0]),
        "W": random.normal(size=(1, 4 * UNITS, WIDTH), scale=0.3).astype("float32"),
        "R": random.normal(size=(1, 4 * UNITS, UNITS), scale=0.3).astype("float32"),
        "B": random.normal(size=(1, 8 * UNITS)).astype("float32"),
        "go_on": np.array(True),
    }
    if not bias:
        del constants["B"]
    body = [
        helper.make_node("Unsqueeze", ["x", "axis"], ["x1"]),
        *(helper.make_node("Unsqueeze", [name, "axis"], [f"{name}1"]) for name in "hc"),
        helper.make_node(
            "LSTM",
            ["x1", "W", "R", "B" if bias else "", "", "h1", "c1"],
            ["", "h2", "c2"],
            hidden_size=UNITS,
            **attributes,
        ),
        *(helper.make_node("Squeeze", [f"{name}2", "axis"], [f"{name}3"]) for name in "hc"),
        helper.make_node("Identity", ["condition"], ["condition_out"]),
    ]
    state = {
        name: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", UNITS]) for name in ("h", "c", "h3", "c3")
    }
    step = helper.make_tensor_value_info("step", TensorProto.INT64, [])
    condition, out = (helper.make_tensor_value_info(n, TensorProto.BOOL, []) for n in ("condition", "condition_out"))
    inner = helper.make_graph(body, "body", [step, condition, state["h"], state["c"]], [out, state["h3"], state["c3"]])
    nodes = [helper.make_node("Loop", ["steps", "go_on", "h0", "c0"], ["h_last", "c_last"], body=inner)]
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", WIDTH])]
    values += [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", UNITS]) for name in ("h0", "c0")]
    values.append(helper.make_tensor_value_info("steps", TensorProto.INT64, []))
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", UNITS]) for name in ("h_last", "c_last")]
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "steps", values, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def outputs_of(model, path):
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    random = np.random.default_rng(1)
    arrays = {
        name: random.normal(size=(3, size)).astype("float32")
        for name, size in (("x", WIDTH), ("h0", UNITS), ("c0", UNITS))
    }
    return Session(path).run({**arrays, "steps": np.array(5)})


@pytest.mark.parametrize("bias", [True, False])
def test_steps_become_products_with_the_same_results(bias, tmp_path):
    model = loop_of_steps(bias)
    expected = outputs_of(model, tmp_path / "model.onnx")
    steps_as_products(model.graph)
    counts = count_operators(model.graph)
    assert "LSTM" not in counts
    assert counts["MatMul"] == 2
    for name, values in outputs_of(model, tmp_path / "model.onnx").items():
        assert np.allclose(values, expected[name], atol=1e-6)
    shapes = [list(t.dims) for graph in all_graphs(model.graph) for t in graph.initializer if len(t.dims) > 1]
    assert shapes == [[WIDTH, 4 * UNITS], [UNITS, 4 * UNITS]]  # the operator's own weights are gone


def test_int8_multiplies_the_weights_of_steps(tmp_path):
    model = loop_of_steps()
    expected = outputs_of(model, tmp_path / "model.onnx")
    weights = to_int8(model)
    assert weights.multiplied == 4 * UNITS * (WIDTH + UNITS)
    for name, values in outputs_of(model, tmp_path / "model.onnx").items():
        assert np.allclose(values, expected[name], atol=0.05)


def test_other_activations_stay_an_operator():
    model = loop_of_steps(activations=["Sigmoid", "Relu", "Relu"])
    steps_as_products(model.graph)
    assert count_operators(model.graph)["LSTM"] == 1


def test_with_contrib_a_step_stays_one_operator():
    model = loop_of_steps()
    to_int8(model, contrib=True)
    assert count_operators(model.graph)["DynamicQuantizeLSTM"] == 1
