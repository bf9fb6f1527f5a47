"""The tokenizer that splits text as a `TextVectorization` of Keras does."""

from typing import Any

from tfseq.errors import InputError
from tfseq.runtime.word_tokenizer import WordTokenizer


def word_tokenizer_of(layer: Any, standardizing: dict[str, Any] | None = None) -> WordTokenizer:
    """A `WordTokenizer` with the vocabulary, standardization and split of a `keras.layers.TextVectorization`.

    Args:
        layer: adapted, or made with a vocabulary.
        standardizing: `lower` and `strip_punctuation` of a layer whose `standardize` is a function.

    Raises:
        InputError: the layer does what no tokenizer of ours does; the message goes on from the layer's name.
    """
    if callable(layer._standardize) and standardizing is None:
        raise InputError("has a function of its own as `standardize`")
    if callable(layer._split):
        raise InputError("has a function of its own as `split`")
    words = [str(word) for word in layer.get_vocabulary()]
    if layer._output_mode != "int":
        words.insert(0, "")
    kind = None if callable(layer._standardize) else layer._standardize
    rules = standardizing or {
        "lower": kind in ("lower", "lower_and_strip_punctuation"),
        "strip_punctuation": kind in ("strip_punctuation", "lower_and_strip_punctuation"),
    }
    return WordTokenizer(
        words, **rules, split=layer._split, ngrams=layer._ngrams or (), length=layer._output_sequence_length
    )
