"""The four recurrent cells of the lectures, as Keras layers chosen by name.

The layers are Keras' own, with the same weights and results, and cuDNN on a GPU. Only training on a CPU takes another
path, where it can: `tfseq.layers.tensorflow_kernels` runs the same equations about twice as fast.
"""

import keras
from keras import ops

CELLS = ("rnn", "irnn", "lstm", "gru")


def recurrent_layer(cell, units, **kwargs):
    """A recurrent layer that returns its whole output sequence and its last state.

    Args:
        cell: "rnn" (vanilla, tanh), "irnn" (ReLU, identity recurrent weights, zero biases; Le et al., 2015), "lstm" or "gru".
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


class _FastOnCPU:
    """Trains on CPUs with our kernels, where the layer's settings are ones they know, else as Keras does."""

    def inner_loop(self, sequences, initial_state, mask, training=False):
        if not (training and mask is None and self._kernels_apply()):
            return super().inner_loop(sequences, initial_state, mask, training)
        from tfseq.layers import tensorflow_kernels as kernels

        x = ops.convert_to_tensor(sequences)
        as_input = [ops.cast(t, x.dtype) for t in self._weights() + list(initial_state[:1])]
        carry = ops.cast(initial_state[-1], "float32")
        x = ops.flip(x, axis=1) if self.go_backwards else x
        outputs, carry = kernels.recurrence(self._cell_equations(kernels), x, *as_input, carry)
        last = outputs[:, -1]  # (batch, units)
        states = [last, ops.cast(carry, x.dtype)][: len(initial_state)]
        return last, outputs if self.return_sequences else last[:, None], states

    def _kernels_apply(self):
        on_cpu = keras.backend.backend() == "tensorflow" and not _gpu_visible()
        return on_cpu and not (self.dropout or self.recurrent_dropout or self.unroll) and self._equations_known()

    def _weights(self):
        """Kernel, recurrent kernel, bias and recurrent bias; zeros where the layer has none."""
        cell = self.cell
        zeros = ops.zeros((cell.kernel.shape[-1],))
        bias = zeros if cell.bias is None else ops.convert_to_tensor(cell.bias)
        biases = [bias[0], bias[1]] if len(bias.shape) == 2 else [bias, zeros]
        return [cell.kernel, cell.recurrent_kernel, *biases]

    def _gates_are_standard(self):
        return self.activation is keras.activations.tanh and self.recurrent_activation is keras.activations.sigmoid


@keras.saving.register_keras_serializable(package="tfseq")
class SimpleRNN(_FastOnCPU, keras.layers.SimpleRNN):
    """`keras.layers.SimpleRNN`: h_t = act(W_hh h_{t-1} + W_xh x_t + b)."""

    def _equations_known(self):
        return self.activation in (keras.activations.tanh, keras.activations.relu)

    def _cell_equations(self, kernels):
        return kernels.VanillaCell(self.activation.__name__)


@keras.saving.register_keras_serializable(package="tfseq")
class LSTM(_FastOnCPU, keras.layers.LSTM):
    """`keras.layers.LSTM` (Hochreiter and Schmidhuber, 1997): gates i, f, o and candidate g; c_t = f c_{t-1} + i g."""

    def _equations_known(self):
        return self._gates_are_standard()

    def _cell_equations(self, kernels):
        return kernels.LSTMCell()


@keras.saving.register_keras_serializable(package="tfseq")
class GRU(_FastOnCPU, keras.layers.GRU):
    """`keras.layers.GRU` (Cho et al., 2014), by default in the form whose reset gate comes after the product."""

    def _equations_known(self):
        return self._gates_are_standard() and self.reset_after

    def _cell_equations(self, kernels):
        return kernels.GRUCell()


def _gpu_visible():
    import tensorflow as tf

    return bool(tf.config.list_logical_devices("GPU"))
