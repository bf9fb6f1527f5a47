"""Tracing layers without cuDNN operators and without states kept in variables, which a file can't hold."""

import contextlib
from collections.abc import Iterator
from unittest import mock

import keras


@contextlib.contextmanager
def portable(model: keras.Model) -> Iterator[None]:
    """Within, the model's layers trace what runs anywhere and starts anew each time.

    Keras traces cuDNN's operators where it sees a GPU; no other machine could run them. Stateful layers write their
    states into variables; here each call starts from zeros.
    """
    with contextlib.ExitStack() as patches:
        for layer in model._flatten_layers():
            if hasattr(layer, "use_cudnn"):
                patches.enter_context(mock.patch.object(layer, "use_cudnn", False))
            if isinstance(layer, keras.layers.RNN) and layer.stateful:
                patches.enter_context(mock.patch.object(layer, "stateful", False))
        yield
