"""Keras cell -> NativeCell: the ONNX operator that computes a cell, its weights (gates reordered) and activations."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import activations, layers

from tfseq.keras2 import hard_sigmoid

# Name, alpha and beta of ONNX' function; None where it has no such parameter.
Activation = tuple[str, float | None, float | None]

_ACTIVATIONS: dict[Any, Activation] = {
    activations.tanh: ("Tanh", None, None),
    activations.sigmoid: ("Sigmoid", None, None),
    activations.relu: ("Relu", None, None),
    activations.hard_sigmoid: ("HardSigmoid", 1 / 6, 0.5),  # relu6(x + 3) / 6
    hard_sigmoid: ("HardSigmoid", 0.2, 0.5),
    activations.softsign: ("Softsign", None, None),
    activations.softplus: ("Softplus", None, None),
    activations.elu: ("Elu", 1.0, None),
    activations.leaky_relu: ("LeakyRelu", 0.2, None),
    activations.linear: ("Affine", 1.0, 0.0),
    keras.ops.tanh: ("Tanh", None, None),
    keras.ops.sigmoid: ("Sigmoid", None, None),
    keras.ops.relu: ("Relu", None, None),
    tf.tanh: ("Tanh", None, None),
    tf.sigmoid: ("Sigmoid", None, None),
    tf.nn.relu: ("Relu", None, None),
}

# Where ONNX' gates stand among Keras'.
GATES = {"RNN": (0,), "GRU": (0, 1, 2), "LSTM": (0, 3, 1, 2)}  # h; z r h; Keras' i f c o become i o f c


class NotNative(Exception):
    """Why a layer has no native operator."""


@dataclass(frozen=True, eq=False)
class NativeCell:
    """One direction of an ONNX RNN, GRU or LSTM.

    Attributes:
        cell: the Keras cell it is.
        operator: "RNN", "GRU" or "LSTM".
        units: width of the hidden state.
        activations: of the operator's functions, in its order.
        linear_before_reset: of a GRU: the reset gate comes after the product with the recurrent weights.
        w, r, b: (gates * units, width), (gates * units, units) and (2 * gates * units,); b is None without biases.
    """

    cell: Any
    operator: str
    units: int
    activations: tuple[Activation, ...]
    linear_before_reset: bool
    w: np.ndarray
    r: np.ndarray
    b: np.ndarray | None

    @property
    def state_count(self) -> int:
        return 2 if self.operator == "LSTM" else 1

    def pairs_with(self, other: "NativeCell") -> bool:
        """Whether the two can be the directions of one operator."""
        return (
            self.operator == other.operator
            and self.units == other.units
            and self.linear_before_reset == other.linear_before_reset
            and self.w.shape == other.w.shape
        )


def native_cell(cell: Any) -> NativeCell:
    """The operator that does what a built Keras cell does at inference.

    Raises:
        NotNative: there is none.
    """
    operator = next((name for kind, name in _CELLS.items() if getattr(type(cell), "call", None) is kind.call), None)
    if operator is None:
        raise NotNative(f"{type(cell).__name__} is a cell of its own")
    if cell.compute_dtype not in ("float32", "float64"):  # ONNX Runtime's operators compute in float32 only
        raise NotNative(f"it computes in {cell.compute_dtype}")
    functions = [cell.activation]
    if operator != "RNN":
        functions.insert(0, cell.recurrent_activation)
    if operator == "LSTM":
        functions.append(cell.activation)
    kernel, recurrent_kernel = (_value(w) for w in (cell.kernel, cell.recurrent_kernel))
    bias = None if cell.bias is None else _value(cell.bias)
    return NativeCell(
        cell,
        operator,
        cell.units,
        tuple(map(_activation, functions)),
        operator == "GRU" and bool(cell.reset_after),
        _gates_first(kernel, operator),
        _gates_first(recurrent_kernel, operator),
        None if bias is None else _both_biases(bias, operator),
    )


_CELLS = {layers.LSTMCell: "LSTM", layers.GRUCell: "GRU", layers.SimpleRNNCell: "RNN"}


def _activation(function):
    try:
        return _ACTIVATIONS[function]
    except (KeyError, TypeError):
        name = getattr(function, "__name__", type(function).__name__)
        raise NotNative(f"ONNX' recurrent operators have no activation {name}") from None


def _value(weight):
    if not isinstance(weight, keras.Variable):
        raise NotNative("its weights are computed")
    with tf.init_scope():  # also while a graph is traced
        return keras.ops.convert_to_numpy(weight).astype("float32")


def _gates_first(kernel, operator):
    """(width, gates * units) with Keras' order of gates to (gates * units, width) with ONNX'."""
    gates = np.split(kernel, len(GATES[operator]), axis=1)
    return np.concatenate([gates[i].T for i in GATES[operator]])


def _both_biases(bias, operator):
    """Keras' bias, (gates * units,) or for GRU's input and recurrent product (2, gates * units), as ONNX' pair."""
    pair = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
    return np.concatenate([_gates_first(side[None], operator)[:, 0] for side in pair])
