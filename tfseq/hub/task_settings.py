"""Settings of KerasHub's tasks that an export needs: inputs, positions, end tokens; and how one is refused."""

from typing import Any
from unittest import mock

import keras
import numpy as np

from tfseq.errors import ExportError


def input_names(task: Any) -> set[str]:
    """Names of what a task's `call` takes."""
    return set(task.input) if isinstance(task.input, dict) else {"images"}


def positions_of(backbone: Any) -> int | None:
    """Tokens that a backbone reads at most, by its tables of learned positions; None: no limit."""
    sizes = [layer.sequence_length for layer in backbone._flatten_layers() if _learns_positions(layer)]
    return min(sizes, default=None)


def _learns_positions(layer: Any) -> bool:
    return type(layer).__name__.endswith("PositionEmbedding") and hasattr(layer, "position_embeddings")


def begin_of(task: Any) -> tuple[int, ...]:
    """Ids of the tokens that a Seq2SeqLM's outputs begin with, by its preprocessor.

    Raises:
        ExportError: it has none.
    """
    if task.preprocessor is None:
        raise refused(task, "has no preprocessor to say what its outputs begin with")
    packed = task.preprocessor.generate_preprocess(_read_by(task), sequence_length=8)
    ids, real = (np.asarray(packed[f"decoder_{name}"])[0] for name in ("token_ids", "padding_mask"))
    return tuple(ids[real.astype(bool)].tolist())


def ends_of(task: Any) -> tuple[int, ...]:
    """Ids of the tokens that the task's own `generate` stops at; () without a preprocessor.

    It is called, up to the function that would generate.
    """
    if task.preprocessor is None:
        return ()
    found: list[Any] = []

    def generate_function(inputs: Any, stop_token_ids: Any = None) -> Any:
        found.extend(stop_token_ids or ())
        raise _Found

    with mock.patch.object(task, "make_generate_function", return_value=generate_function):
        try:
            task.generate(_read_by(task), max_length=8)
        except _Found:
            return tuple(int(token) for token in dict.fromkeys(found) if token is not None)
    raise AssertionError("generate has called no generate function")


def _read_by(task: Any) -> Any:
    """Something that the task's preprocessor takes."""
    hears = "encoder_input_values" in input_names(task)
    return {"audio": np.zeros((1, 1600), "float32")} if hears else ["a"]


class _Found(Exception):
    pass


def without_preprocessor(task: Any) -> dict[str, Any]:
    """A task's configuration, as `keras.saving.deserialize_keras_object` takes it, without its preprocessor."""
    preprocessor = task.preprocessor
    task.preprocessor = None
    try:
        return keras.saving.serialize_keras_object(task)
    finally:
        task.preprocessor = preprocessor


def as_probabilities(task: Any, outputs: Any) -> Any:
    """What a classifier puts out, where these are logits as probabilities."""
    if getattr(task, "activation", None) not in (None, keras.activations.linear):
        return outputs
    return keras.ops.softmax(outputs) if outputs.shape[-1] > 1 else keras.ops.sigmoid(outputs)


def refused(task: Any, what: str) -> ExportError:
    """The error of a task that does something without translation."""
    return ExportError(
        f"{task.name} ({type(task).__name__} of KerasHub) can't be exported: {what}, which has no translation. "
        "Export its backbone, the forward pass alone."
    )
