"""Sources -> text -> tokens -> tf.data. Reading a text loads no TensorFlow; the streams do, on first use."""

from importlib import import_module
from typing import Any

from tfseq.data.corpus import Corpus, load_corpus
from tfseq.data.vocabulary import character_tokenizer, subword_tokenizer, word_tokenizer

_STREAMS = ("contiguous_streams", "evaluation_stream", "steps_per_epoch")

__all__ = [
    "Corpus",
    "character_tokenizer",
    "contiguous_streams",
    "evaluation_stream",
    "load_corpus",
    "steps_per_epoch",
    "subword_tokenizer",
    "word_tokenizer",
]


def __getattr__(name: str) -> Any:
    if name in _STREAMS:
        return getattr(import_module("tfseq.data.streams"), name)
    raise AttributeError(f"module 'tfseq.data' has no attribute {name!r}")
