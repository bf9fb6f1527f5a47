"""Classification: `Label`, the most likely class of each row by name; and texts as inputs of graphs."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tfseq.errors import ArtefactError, InputError
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

    Raises:
        ArtefactError: the classes are not as many as their names.
    """
    if probabilities.ndim > 1:
        return [named(labels, row) for row in probabilities]
    if probabilities.shape == (1,) and len(labels) == 2:
        probabilities = np.concatenate([1 - probabilities, probabilities])
    if probabilities.shape != (len(labels),):
        found = probabilities.shape[-1] if probabilities.ndim else "no"
        raise ArtefactError(
            f"The file names {len(labels)} classes, and its output has {found}; export the model again."
        )
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
    """Inputs of the graph for a text or several; None if `given` is something else, or the graph takes text itself.

    Raises:
        InputError: the file reads no text, or a text is empty.

    Warns:
        UnknownCharacterWarning: a text has characters or words that the model never saw.
    """
    several = isinstance(given, list | tuple) and len(given) > 0 and isinstance(given[0], str)
    if not (isinstance(given, str) or several):
        return None
    spec = manifest.inputs[0]
    if spec.dtype == "string":
        return None
    if tokenizer is None or len(manifest.inputs) != 1 or len(spec.shape) != 2:
        wanted = ", ".join(map(str, manifest.inputs))
        remedy = ""
        if len(manifest.inputs) == 1 and spec.dtype in ("int32", "int64") and len(spec.shape) == 2:
            remedy = " To read text, export the model with a tokenizer, such as tfseq.data.tokenizer_of(vectorize)."
        raise InputError(f"This file reads no text; expected arrays: {wanted}.{remedy}")
    _, padded = padded_tokens(tokenizer, given, "text")
    return {spec.name: padded.astype(spec.dtype)}


def with_texts(
    manifest: Manifest, tokenizer: Tokenizer | None, arrays: Sequence[Any], named: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Arguments by position and by name, with a text or a list of texts as the array that its input takes: of token
    ids, or of one string for each row.

    Raises:
        InputError: a text is empty.

    Warns:
        UnknownCharacterWarning: a text has characters or words that the model never saw.
    """
    specs = {spec.name: spec for spec in manifest.inputs}

    def given(name: str, value: Any) -> Any:
        spec, texts = specs.get(name), _texts(value)
        if spec is None or texts is None:
            return value
        if spec.dtype == "string" and all(size == 1 for size in spec.shape[1:]):
            return np.array(texts, object).reshape(-1, *spec.shape[1:])
        if tokenizer is None or spec.dtype not in ("int32", "int64") or len(spec.shape) != 2:
            return value
        return padded_tokens(tokenizer, texts, "text")[1].astype(spec.dtype)

    by_position = [given(*pair) for pair in zip(specs, arrays, strict=False)] + list(arrays[len(specs) :])
    return by_position, {name: given(name, value) for name, value in named.items()}


def _texts(value: Any) -> list[str] | None:
    """The texts in a text, a list of them or an array, (batch,) or (batch, 1); None if it is something else."""
    if isinstance(value, str):
        return [value]
    first = value
    while isinstance(first, list | tuple) and first:
        first = first[0]
    if not (isinstance(first, str) or getattr(getattr(value, "dtype", None), "kind", "") in ("U", "O")):
        return None
    try:
        array = np.asarray(value, object)
    except ValueError:
        return None  # a ragged list
    return array.ravel().tolist() if array.size and array.shape in ((array.size,), (array.size, 1)) else None
