"""Weights of a recurrent layer that a prompt and a decode step read: stored once, whatever operators read them."""

import math

import keras
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import tfseq
from tfseq.exporting import export
from tfseq.exporting.recurrent.shared_weights import share_weights
from tfseq.exporting.rewriting import all_graphs
from tfseq.exporting.rewriting.weights import Weights
from tfseq.models import RecurrentLanguageModel
from tfseq.runtime.session import Session


@pytest.mark.parametrize(
    ("cell", "options", "strategy"),
    [
        ("lstm", {}, tfseq.Greedy()),  # the step looks its input up, and is products
        ("lstm", {"embedding_dim": 40, "depth": 2}, tfseq.Beam(2)),  # operators both
        ("gru", {"embedding_dim": 40}, tfseq.Sample(seed=1)),
        ("rnn", {}, tfseq.Greedy()),
    ],
)
def test_a_file_that_generates_has_each_weight_once(cell, options, strategy, tmp_path):
    keras.utils.set_random_seed(0)
    model = RecurrentLanguageModel(70, 72, cell=cell, **options)
    model.build()
    manifest = export(model, tmp_path / "model.onnx", decode=strategy)
    assert manifest.parity["passed"]
    graph = onnx.load(tmp_path / "model.onnx").graph
    stored = [math.prod(t.dims) for g in all_graphs(graph) for t in g.initializer if t.data_type == TensorProto.FLOAT]
    large = sum(size for size in stored if size > 1024)
    assert large == sum(math.prod(w.shape) for w in model.weights if math.prod(w.shape) > 1024)
    assert sum(stored) - large < 3000  # biases come in two forms


def graph_of_both(kernel, operator_weights, operator="LSTM"):
    """`operator` over x beside a product with the kernel, and what is in both."""
    gates = {"LSTM": 4, "GRU": 3}[operator]
    units = operator_weights.shape[1] // gates
    recurrent = np.random.default_rng(9).normal(size=(1, gates * units, units)).astype("float32")
    nodes = [
        helper.make_node(operator, ["x", "W", "R"], ["y"], hidden_size=units),
        helper.make_node("MatMul", ["v", "K"], ["product"]),
    ]
    values = {"K": kernel, "W": operator_weights, "R": recurrent}
    graph = helper.make_graph(
        nodes,
        "both",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["a", *rest]) for name, rest in given(kernel)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * rank)
            for name, rank in (("y", 4), ("product", 2))
        ],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def given(kernel):
    return (("x", ["b", len(kernel)]), ("v", [len(kernel)]))


@pytest.mark.parametrize("operator", ["LSTM", "GRU"])
def test_an_operator_takes_its_weights_from_a_kernel_in_another_layout(operator, tmp_path):
    random = np.random.default_rng(0)
    gates = [random.normal(size=(30, 20)).astype("float32") for _ in range(4 if operator == "LSTM" else 3)]
    order = (0, 3, 1, 2) if operator == "LSTM" else (0, 1, 2)
    weights = np.concatenate([gates[i].T for i in order])[None]
    model = graph_of_both(np.concatenate(gates, axis=1), weights, operator)
    x, v = random.normal(size=(5, 2, 30)).astype("float32"), random.normal(size=(3, 30)).astype("float32")
    onnx.save(model, tmp_path / "before.onnx")
    expected = Session(tmp_path / "before.onnx").run({"x": x, "v": v})
    share_weights(model.graph, Weights())
    assert "W" not in {tensor.name for tensor in model.graph.initializer}
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, tmp_path / "after.onnx")
    got = Session(tmp_path / "after.onnx").run({"x": x, "v": v})
    for name, value in expected.items():
        np.testing.assert_array_equal(got[name], value)


def test_weights_that_differ_somewhere_stay_apart():
    random = np.random.default_rng(0)
    kernel = random.normal(size=(30, 80)).astype("float32")
    weights = np.concatenate([np.split(kernel, 4, axis=1)[i].T for i in (0, 3, 1, 2)])[None]
    weights[0, 79, 29] += 1
    model = graph_of_both(kernel, weights)
    before = model.SerializeToString()
    share_weights(model.graph, Weights())
    assert model.SerializeToString() == before


def test_equal_weights_of_two_names_are_one():
    kernel = np.random.default_rng(0).normal(size=(40, 40)).astype("float32")
    nodes = [helper.make_node("MatMul", ["x", "A"], ["y"]), helper.make_node("MatMul", ["y", "B"], ["z"])]
    initializers = [numpy_helper.from_array(kernel, name) for name in "AB"]
    graph = helper.make_graph(nodes, "twice", [], [], initializers)
    share_weights(graph, Weights())
    assert [tensor.name for tensor in graph.initializer] == ["A"]
    assert [list(node.input) for node in graph.node] == [["x", "A"], ["y", "A"]]
