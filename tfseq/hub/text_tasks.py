"""`text_model`: a TextClassifier or TextEmbedder of KerasHub as a model of token ids alone, padded with 0."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfseq.hub.seq_2_seq_lm import is_real
from tfseq.hub.task_settings import as_probabilities, input_names, refused

_KNOWN = {"token_ids", "padding_mask", "segment_ids"}


def text_model(task: Any, probabilities: bool = False) -> keras.Model:
    """The task behind what its preprocessor makes of token ids: padding of its own, a mask, segments.

    What reads padding as it reads text, FNet, gets as much of it as from the preprocessor.

    Args:
        task: one whose inputs are `token_ids`, `padding_mask` and perhaps `segment_ids`.
        probabilities: whether logits become probabilities: of a classifier without an activation.

    Returns:
        a model of `tokens`, (batch, time) int32.

    Raises:
        ExportError: the task reads something else.
    """
    names = input_names(task)
    if extra := names - _KNOWN:
        raise refused(task, f"reads {', '.join(sorted(extra))} beside text")
    padding = getattr(getattr(task.preprocessor, "tokenizer", None), "pad_token_id", None) or 0
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    padded = tokens
    if "padding_mask" not in names and task.preprocessor is not None and _reads_padding(task, names, padding):
        padded = _Padded(task.preprocessor.sequence_length)(tokens)
    real = is_real(padded)
    given = {"token_ids": ops.where(real, padded, padding) if padding else padded}
    if task.preprocessor is not None:  # whose mask goes by the token, also where a text spells it
        real = ops.logical_and(real, padded != padding)
    given |= {"padding_mask": ops.cast(real, "int32"), "segment_ids": ops.zeros_like(padded)}
    outputs = task({name: given[name] for name in names})
    return keras.Model(tokens, as_probabilities(task, outputs) if probabilities else outputs, name=task.name)


def _reads_padding(task: Any, names: set[str], padding: int) -> bool:
    """Whether more padding behind a text changes what a task without a mask puts out."""
    results = []
    for amount in (0, 5):
        ids = np.array([[*range(padding + 1, padding + 4), *[padding] * amount]], "int32")
        given = {"token_ids": ids, "segment_ids": np.zeros_like(ids)}
        results.append(ops.convert_to_numpy(task({name: given[name] for name in names}, training=False)))
    few, many = results
    return not np.allclose(few, many, rtol=1e-4, atol=1e-5)


class _Padded(keras.layers.Layer):
    """(batch, time) with zeros behind it, up to a length; what is longer stays."""

    def __init__(self, length: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.length = length

    def call(self, tokens):
        batch, time = ops.shape(tokens)
        return ops.concatenate([tokens, ops.zeros((batch, self.length), tokens.dtype)[:, time:]], axis=1)

    def compute_output_shape(self, shape):
        return shape[0], None
