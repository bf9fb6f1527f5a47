"""A model of Keras 2 in its export: its copy in Keras 3 is what is exported, and it what the file is compared with."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import tree

from tfseq import keras2
from tfseq.exporting.proving.elsewhere import Elsewhere, RefusedElsewhere, compared_with
from tfseq.reasons import first_line


@contextlib.contextmanager
def in_keras_3(model: Any) -> Iterator[keras.Model]:
    """The model's copy; within, files are compared with the model. One of Keras 3 is itself.

    Raises:
        ExportError: a layer has no counterpart in Keras 3.
    """
    if not keras2.is_keras_2(model):
        yield model
        return

    def called(inputs: list[Any]) -> Any:
        try:
            given = inputs[0] if len(inputs) == 1 else inputs
            return tree.map_structure(np.asarray, model(given, training=False))
        except Exception as error:
            raise RefusedElsewhere(first_line(error)) from error

    def ask(what: str, content: Any) -> Any:
        if what != "call":
            model.reset_states()
        return [called(chunk) for chunk in content] if what == "in_turn" else called(content)

    copy = keras2.converted(model)
    with compared_with(Elsewhere(ask, "tensorflow")):
        yield copy
