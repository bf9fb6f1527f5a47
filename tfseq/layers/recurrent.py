"""The four recurrent cells of the lectures, as Keras layers chosen by name."""

import keras

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
            return keras.layers.SimpleRNN(units, **kwargs)
        case "irnn":
            return keras.layers.SimpleRNN(units, activation="relu", recurrent_initializer="identity", **kwargs)
        case "lstm":
            return keras.layers.LSTM(units, **kwargs)
        case "gru":
            return keras.layers.GRU(units, **kwargs)
    raise ValueError(f"cell is {cell!r}; expected one of {', '.join(CELLS)}.")
