"""`tokenizer_of`: the tokenizer of a task's preprocessor, with the tokens that it puts around a text."""

from typing import Any

import keras
import numpy as np

from tfseq.hub.task_settings import refused
from tfseq.hub.tokenizers import converted, ids_of
from tfseq.models.generator import Generator
from tfseq.runtime.subword_tokenizer import SubwordTokenizer

_TEXT = "to"


def tokenizer_of(task: Any, model: keras.Model) -> SubwordTokenizer:
    """The tokenizer that the task's preprocessor uses, and what this puts before and behind a text that is read.

    Args:
        model: the task as a Generator, or as a model of token ids.

    Raises:
        ExportError: no file can hold the tokenizer, or what the preprocessor does with texts.
    """
    tokenizer = task.preprocessor.tokenizer
    if not isinstance(model, Generator):
        before, behind = _around(task, task.preprocessor([_TEXT]))
        return converted(tokenizer, prepend=before, append=behind)
    packed = task.preprocessor.generate_preprocess([_TEXT], sequence_length=_LONG)
    before, behind = _around(task, packed, "encoder_" if model.sources else "")
    end = model.ends[0] if model.ends else None
    return converted(tokenizer, model.vocabulary_size, start=model.start, end=end, prepend=before, append=behind)


_LONG = 64  # tokens, more than those of _TEXT


def _around(task: Any, packed: Any, prefix: str = "") -> tuple[list[int], list[int]]:
    """The tokens that a preprocessor has put before and behind those of _TEXT.

    Args:
        packed: what it makes of [_TEXT].
        prefix: of the names in it.
    """
    tokenizer = task.preprocessor.tokenizer
    ids, mask = np.asarray(packed[prefix + "token_ids"])[0], packed.get(prefix + "padding_mask")
    padding = getattr(tokenizer, "pad_token_id", None) or 0
    real = (ids != padding) if mask is None else np.asarray(mask)[0].astype(bool)
    ids, own = ids[real].tolist(), ids_of(tokenizer, _TEXT)
    for place in range(len(ids) - len(own) + 1):
        if ids[place : place + len(own)] == own:
            return ids[:place], ids[place + len(own) :]
    raise refused(task, "has a preprocessor that makes other tokens than its tokenizer")
