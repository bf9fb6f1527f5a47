"""Recurrent layers by name: vanilla RNN, IRNN, LSTM and GRU, with faster kernels for training on CPUs.

The layers are Keras' own, with the same weights and results, and cuDNN on a GPU. Only training on a CPU takes another
path, where it can: `tfseq.layers.tensorflow_kernels` runs the same equations about twice as fast.
"""

import keras
from keras import ops

from tfseq.layers.cpu_training import kernels, kernels_apply

CELLS = ("rnn", "irnn", "lstm", "gru")


def recurrent_layer(cell, units, **kwargs):
    """A recurrent layer that returns its whole output sequence and its last state.

    Args:
        cell: "rnn" (vanilla, tanh), "irnn" (ReLU, identity recurrent weights, zero biases; Le et al., 2015), "lstm" or
            "gru".
        units: width of the hidden state.
        kwargs: further arguments of the Keras layer.

    Raises:
        ValueError: `cell` is none of these.
    """
    kwargs = {"return_sequences": True, "return_state": True} | kwargs
    match cell:
        case "rnn":
            return SimpleRNN(units, **kwargs)
        case "irnn":
            return SimpleRNN(units, activation="relu", recurrent_initializer="identity", **kwargs)
        case "lstm":
            return LSTM(units, **kwargs)
        case "gru":
            return GRU(units, **kwargs)
    raise ValueError(f"cell is {cell!r}; expected one of {', '.join(CELLS)}.")


@keras.saving.register_keras_serializable(package="tfseq")
class SimpleRNN(keras.layers.SimpleRNN):
    """`keras.layers.SimpleRNN`: h_t = act(W_hh h_{t-1} + W_xh x_t + b)."""

    def inner_loop(self, sequences, initial_state, mask, training=False):
        if (equations := self.equations(mask, training)) is None:
            return super().inner_loop(sequences, initial_state, mask, training)
        return _inner_loop(self, equations, sequences, initial_state, mask)

    def equations(self, mask=None, training=True):
        """The cell for the CPU training kernels; None where they don't apply."""
        known = self.activation in (keras.activations.tanh, keras.activations.relu)
        if known and _kernels_apply(self, mask, training):
            return kernels().VanillaCell(self.activation.__name__)


@keras.saving.register_keras_serializable(package="tfseq")
class LSTM(keras.layers.LSTM):
    """`keras.layers.LSTM` (Hochreiter and Schmidhuber, 1997): gates i, f, o and candidate g; c_t = f c_{t-1} + i g."""

    def inner_loop(self, sequences, initial_state, mask, training=False):
        if (equations := self.equations(mask, training)) is None:
            return super().inner_loop(sequences, initial_state, mask, training)
        return _inner_loop(self, equations, sequences, initial_state, mask)

    def equations(self, mask=None, training=True):
        """The cell for the CPU training kernels; None where they don't apply."""
        if _gates_are_standard(self) and _kernels_apply(self, mask, training):
            return kernels().LSTMCell()


@keras.saving.register_keras_serializable(package="tfseq")
class GRU(keras.layers.GRU):
    """`keras.layers.GRU` (Cho et al., 2014), by default in the form whose reset gate comes after the product."""

    def inner_loop(self, sequences, initial_state, mask, training=False):
        if (equations := self.equations(mask, training)) is None:
            return super().inner_loop(sequences, initial_state, mask, training)
        return _inner_loop(self, equations, sequences, initial_state, mask)

    def equations(self, mask=None, training=True):
        """The cell for the CPU training kernels; None where they don't apply."""
        if _gates_are_standard(self) and self.reset_after and _kernels_apply(self, mask, training):
            return kernels().GRUCell()


def _gates_are_standard(layer):
    return layer.activation is keras.activations.tanh and layer.recurrent_activation is keras.activations.sigmoid


def _kernels_apply(layer, mask, training):
    if layer.dropout or layer.recurrent_dropout or layer.unroll or (mask is not None and len(mask.shape) != 2):
        return False
    return kernels_apply(training)


def _inner_loop(layer, equations, sequences, initial_state, mask):
    """Keras' `inner_loop` by our CPU training kernels: last output, outputs and states."""
    x = ops.convert_to_tensor(sequences)  # (batch, time, width)
    mask = None if mask is None else ops.cast(mask, "bool")  # (batch, time)
    if layer.go_backwards:
        x, mask = ops.flip(x, axis=1), None if mask is None else ops.flip(mask, axis=1)
    weights_and_h = [ops.cast(t, x.dtype) for t in (*cell_weights(layer.cell), initial_state[0])]
    carry = ops.cast(initial_state[-1], "float32")
    outputs, carry = kernels().recurrence(equations, x, *weights_and_h, carry, mask)
    states = [outputs[:, -1], ops.cast(carry, x.dtype)][: len(initial_state)]  # (batch, units)
    if mask is not None:  # a step that is not real repeats the output before it, which at first is 0
        shown = mask if layer.zero_output_for_mask else ops.cumsum(ops.cast(mask, "int32"), axis=1) > 0
        outputs = ops.where(shown[..., None], outputs, ops.zeros((), x.dtype))
    last = outputs[:, -1]
    return last, outputs if layer.return_sequences else last[:, None], states


def cell_weights(cell):
    """Kernel, recurrent kernel, bias and recurrent bias; zeros where the cell has none."""
    zeros = ops.zeros((cell.kernel.shape[-1],))
    bias = zeros if cell.bias is None else ops.convert_to_tensor(cell.bias)
    biases = [bias[0], bias[1]] if len(bias.shape) == 2 else [bias, zeros]
    return [cell.kernel, cell.recurrent_kernel, *biases]
