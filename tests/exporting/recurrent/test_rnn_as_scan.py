"""A Scan gives what ONNX Runtime's own RNN gives."""

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tfseq.exporting.recurrent.rnn_as_scan import scan_recurrences
from tfseq.exporting.rewriting import count_operators
from tfseq.exporting.rewriting.cleanup import remove_unused

TIME, BATCH, WIDTH, UNITS = 6, 4, 3, 2
RANDOM = np.random.default_rng(0)
FEEDS = {
    "x": RANDOM.normal(size=(TIME, BATCH, WIDTH)).astype("float32"),
    "lengths": np.array([6, 1, 3, 4], "int32"),
}


def model_of(direction, masked=False, first=False, biased=True, outputs=("y", "last"), width=WIDTH, **attributes):
    directions = 2 if direction == "bidirectional" else 1
    shapes = {
        "w": (directions, UNITS, width),
        "r": (directions, UNITS, UNITS),
        "b": (directions, 2 * UNITS),
        "h": (directions, BATCH, UNITS),
    }
    constants = [numpy_helper.from_array(RANDOM.normal(size=s).astype("float32"), n) for n, s in shapes.items()]
    inputs = ["x", "w", "r", "b" if biased else "", "lengths" if masked else "", "h" if first else ""]
    node = helper.make_node(
        "RNN", inputs, list(outputs), name="rnn", hidden_size=UNITS, direction=direction, **attributes
    )
    values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["time", "batch", width])]
    values += [helper.make_tensor_value_info("lengths", TensorProto.INT32, ["batch"])] * masked
    axes = {"y": ["time", directions, "batch", UNITS], "last": [directions, "batch", UNITS]}
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, axes[name]) for name in outputs if name]
    graph = helper.make_graph([node], "g", values, results, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def run(model, feeds):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {value.name: feeds[value.name] for value in session.get_inputs()})


def assert_scan_gives_the_same(model, feeds=FEEDS):
    expected = run(model, feeds)
    scan_recurrences(model.graph)
    onnx.checker.check_model(model, full_check=True)
    operators = count_operators(model.graph)
    assert operators["Scan"] == 1
    assert "RNN" not in operators
    for a, b in zip(run(model, feeds), expected, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("outputs", [("y", "last"), ("y",), ("", "last")], ids=["both", "each step", "last"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_directions_lengths_and_first_states(direction, outputs):
    for masked, first, biased in itertools.product([False, True], repeat=3):
        assert_scan_gives_the_same(model_of(direction, masked, first, biased, outputs))


@pytest.mark.parametrize(
    ("activations", "alpha", "beta"),
    [
        (["Relu", "Tanh"], [], []),
        (["HardSigmoid", "Elu"], [0.3, 0.7], [0.4]),
        (["Sigmoid", "LeakyRelu"], [0.1], []),
        (["Softsign", "Softplus"], [], []),
        (["Affine", "HardSigmoid"], [1.0, 0.25], [0.0, 0.5]),
    ],
)
def test_activations_with_their_parameters(activations, alpha, beta):
    parameters = {name: value for name, value in (("activation_alpha", alpha), ("activation_beta", beta)) if value}
    for masked in (False, True):
        assert_scan_gives_the_same(model_of("bidirectional", masked, activations=activations, **parameters))


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_rows_without_any_step_keep_their_first_state(direction):
    model = model_of(direction, masked=True)
    feeds = FEEDS | {"lengths": np.array([6, 0, 0, 4], "int32")}
    assert_scan_gives_the_same(model, feeds)
    y, last = run(model, feeds)
    assert not y[:, :, 1:3].any()
    assert not last[:, 1:3].any()


def scan_of(model):
    return next(node for node in model.graph.node if node.op_type == "Scan")


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_only_what_is_read_is_computed(direction):
    model = model_of(direction)
    model.graph.node.append(helper.make_node("Squeeze", ["y"], ["read by nobody"]))
    del model.graph.output[0]
    assert_scan_gives_the_same(model)
    directions = 2 if direction == "bidirectional" else 1
    assert len(scan_of(model).output) == directions  # no outputs of each step beside the last states
    assert "Identity" not in count_operators(model.graph)


def test_no_state_is_chosen_step_by_step_where_a_mask_only_ends_rows():
    model = model_of("bidirectional", masked=True)
    scan_recurrences(model.graph)
    (body,) = (attribute.g for attribute in scan_of(model).attribute if attribute.name == "body")
    assert "Where" not in count_operators(body)


@pytest.mark.parametrize("width", [UNITS - 1, UNITS, UNITS + 3])
def test_the_smaller_side_of_the_product_is_transposed(width):
    model = model_of("bidirectional", width=width)
    model.graph.input[0].type.CopyFrom(
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "time", width]).type
    )
    model.graph.node.insert(0, helper.make_node("Transpose", ["x"], ["time major"], perm=[1, 0, 2]))
    model.graph.node[1].input[0] = "time major"
    assert_scan_gives_the_same(model, {"x": RANDOM.normal(size=(BATCH, TIME, width)).astype("float32")})
    remove_unused(model.graph)
    transposed = {node.input[0] for node in model.graph.node if node.op_type == "Transpose"}
    assert ("x" in transposed) == (width < UNITS)


def test_computed_weights_stay_with_the_operator():
    model = model_of("forward")
    model.graph.node.insert(0, helper.make_node("Neg", ["w"], ["w2"]))
    model.graph.node[1].input[1] = "w2"
    scan_recurrences(model.graph)
    assert count_operators(model.graph) == {"Neg": 1, "RNN": 1}
