"""Classification: `Label`, the most likely class of each row by name, and texts as classifier inputs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tfseq.errors import InputError
from tfseq.runtime.manifest import Manifest, TensorSpec
from tfseq.runtime.text_generation import padded_tokens
from tfseq.runtime.tokenizer_base import Tokenizer


class Label(NamedTuple):
    """The class that a model predicts.

    Attributes:
        name: of the most likely class.
        probability: of this class.
    """

    name: str
    probability: float

    def __str__(self) -> str:
        return f"{self.name} ({self.probability:.1%})"


def named(labels: Sequence[str], probabilities: np.ndarray) -> Any:
    """The most likely class of each row: a list of `Label`, nested as the axes before the last are.

    Args:
        labels: names of the classes.
        probabilities: (..., classes); or (..., 1), the probability of the second of two classes.
    """
    if probabilities.ndim > 1:
        return [named(labels, row) for row in probabilities]
    if len(probabilities) == 1 and len(labels) == 2:
        probabilities = np.concatenate([1 - probabilities, probabilities])
    best = int(probabilities.argmax())
    return Label(labels[best], float(probabilities[best]))


def labelled_output(manifest: Manifest) -> TensorSpec:
    """The output whose last axis counts the classes: the first.

    Raises:
        InputError: the file names no classes.
    """
    if not manifest.labels:
        raise InputError(
            f"{manifest.name} generates and does not classify; call generate."
            if manifest.task == "generate"
            else f"{manifest.name} does not name its classes; call predict, or export the model with labels=[...]."
        )
    return manifest.outputs[0]


def text_feeds(manifest: Manifest, tokenizer: Tokenizer | None, given: Any) -> dict[str, np.ndarray] | None:
    """Inputs of the graph for a text or several; None if `given` is something else.

    Raises:
        InputError: the file reads no text, or a text is empty.

    Warns:
        UnknownCharacterWarning: a text has characters or words that the model never saw.
    """
    several = isinstance(given, list | tuple) and len(given) > 0 and isinstance(given[0], str)
    if not (isinstance(given, str) or several):
        return None
    spec = manifest.inputs[0]
    if tokenizer is None or len(manifest.inputs) != 1 or len(spec.shape) != 2:
        wanted = ", ".join(map(str, manifest.inputs))
        raise InputError(f"This file reads no text; expected arrays: {wanted}.")
    _, padded = padded_tokens(tokenizer, given, "text")
    return {spec.name: padded.astype(spec.dtype)}
