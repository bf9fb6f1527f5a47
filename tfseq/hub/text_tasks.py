"""`text_model`: a TextClassifier or TextEmbedder of KerasHub as a model of token ids alone, padded with 0."""

from typing import Any

import keras
from keras import ops

from tfseq.hub.seq_2_seq_lm import is_real
from tfseq.hub.task_settings import as_probabilities, input_names, refused

_KNOWN = {"token_ids", "padding_mask", "segment_ids"}


def text_model(task: Any, probabilities: bool = False) -> keras.Model:
    """The task behind what its preprocessor makes of token ids: padding of its own, a mask, segments.

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
    real = is_real(tokens)
    given = {"token_ids": ops.where(real, tokens, padding) if padding else tokens}
    given |= {"padding_mask": ops.cast(real, "int32"), "segment_ids": ops.zeros_like(tokens)}
    outputs = task({name: given[name] for name in names})
    return keras.Model(tokens, as_probabilities(task, outputs) if probabilities else outputs, name=task.name)
