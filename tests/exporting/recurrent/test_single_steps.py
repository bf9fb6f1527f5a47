"""Single steps of recurrent cells, as decode steps call them, against Keras."""

import keras
import numpy as np
import onnx
import pytest
from keras import layers

import tfseq
from tfseq.exporting import export
from tfseq.exporting.rewriting import all_graphs
from tfseq.models import RecurrentLanguageModel
from tfseq.runtime import load


class OneStep(keras.Model):
    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def call(self, x, h, c):
        output, states = self.cell(x, [h, c])
        return {"output": output, "new_h": states[0], "new_c": states[1]}


class Clipped(layers.LSTMCell):
    def call(self, inputs, states, training=False):
        h, states = super().call(inputs, states, training=training)
        return keras.ops.clip(h, -0.1, 0.1), states


def exported_step(cell, tmp_path):
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    sample = {name: random.normal(size=(2, size)).astype("float32") for name, size in (("x", 3), ("h", 4), ("c", 4))}
    model = OneStep(cell)
    model(*sample.values())
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape))
    manifest = export(model, tmp_path / "model.onnx", samples=[sample])
    outputs = load(tmp_path / "model.onnx").run(sample)
    for name, value in model(*sample.values()).items():
        assert np.allclose(outputs[name], value, atol=1e-6)
    return manifest


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"use_bias": False},
        {"activation": "relu", "recurrent_activation": "hard_sigmoid"},
        {"dropout": 0.5, "recurrent_dropout": 0.3},
    ],
)
def test_a_step_of_an_lstm_cell_is_one_operator(options, tmp_path):
    operators = exported_step(layers.LSTMCell(4, **options), tmp_path).operators
    assert operators["LSTM"] == 1
    assert not {"MatMul", "Sigmoid", "Tanh", "Split", "Slice", "Transpose"} & operators.keys()


@pytest.mark.parametrize("cell", [Clipped(4), layers.LSTMCell(4, activation="gelu")])
def test_a_cell_that_no_operator_computes_stays_as_it_is(cell, tmp_path):
    assert "LSTM" not in exported_step(cell, tmp_path).operators


def loop_operators(path):
    (loop,) = [node for node in onnx.load(path).graph.node if node.op_type == "Loop"]
    return [node.op_type for graph in all_graphs(loop.attribute[0].g) for node in graph.node]


def language_model(cell, embedding_dim):
    keras.utils.set_random_seed(0)
    model = RecurrentLanguageModel(11, 8, depth=2, cell=cell, embedding_dim=embedding_dim)
    model.build()
    return model


def test_cells_in_a_loop_are_operators_and_their_weights_stand_outside(tmp_path):
    model = language_model("lstm", 5)
    manifest = export(model, tmp_path / "model.onnx", decode=tfseq.Sample())
    operators = loop_operators(tmp_path / "model.onnx")
    assert operators.count("LSTM") == 2
    assert operators.count("MatMul") == 1  # the logits
    assert not {"Sigmoid", "Tanh"} & set(operators)
    graph = onnx.load(tmp_path / "model.onnx").graph
    matrices = [t for t in graph.initializer if sum(size > 1 for size in t.dims) > 1]
    assert sum(np.prod(t.dims) for t in matrices) == sum(np.size(w) for w in model.get_weights() if np.ndim(w) > 1)
    assert manifest.parity["passed"]


def test_a_one_hot_input_is_looked_up_instead_of_multiplied(tmp_path):
    export(language_model("lstm", None), tmp_path / "model.onnx", decode=tfseq.Greedy(), verify=False)
    operators = loop_operators(tmp_path / "model.onnx")
    assert operators.count("LSTM") == 1  # of the upper layer
    assert operators.count("MatMul") == 2  # the recurrent product of the lower one, and the logits


@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_cells_that_are_quicker_as_products_stay_products(cell, tmp_path):
    export(language_model(cell, 5), tmp_path / "model.onnx", decode=tfseq.Greedy(), verify=False)
    operators = loop_operators(tmp_path / "model.onnx")
    assert not {"GRU", "RNN", "Scan", "Loop"} & set(operators)
    assert operators.count("MatMul") == 5  # two of each layer, and the logits
