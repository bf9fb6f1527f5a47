"""`tokenizer_of`: the tokenizer of a `TextVectorization` that stands outside the model, in the data's pipeline."""

import random
import string
from typing import Any

import keras
import numpy as np

from tfseq.errors import DataError, InputError
from tfseq.layers.text_vectorization import word_tokenizer_of
from tfseq.runtime.word_tokenizer import WordTokenizer

_TEXTS, _WORDS = 200, 12  # to compare a declared standardization on; words of each at most


def tokenizer_of(
    layer: Any,
    *,
    lower: bool | None = None,
    strip: str | None = None,
    start: str | None = None,
    end: str | None = None,
) -> WordTokenizer:
    """The tokenizer that makes the token ids of a `keras.layers.TextVectorization`, for `tfseq.export(tokenizer=...)`.

    Where the layer is applied before the model, as in a `tf.data` pipeline, the model takes token ids, and the exported
    file needs this to take and write text. Words that are written have spaces between them.

    Args:
        layer: splits by white space or characters, without n-grams, and has its vocabulary: it was adapted, say.
        lower: whether a function of your own as `standardize` makes capital letters small; a layer without such a
            function says so itself. The tokenizer is compared with the layer on random texts.
        strip: the characters that such a function leaves out.
        start: the word that a generator begins with, such as "[start]"; None for none. It is no text.
        end: the word that it ends with.

    Raises:
        DataError: the layer does something else, its function does not do what is declared, or a word is unknown.

    Example:
        >>> vectorize = keras.layers.TextVectorization(vocabulary=["a", "fine", "film"])
        >>> tokenizer_of(vectorize).encode("A fine film.")
        array([2, 3, 4], dtype=int32)
    """
    if not isinstance(layer, keras.layers.TextVectorization):
        raise DataError(f"The layer is {type(layer).__name__}; expected a keras.layers.TextVectorization.")
    own = callable(layer._standardize)
    if not own and not (lower is None and strip is None):
        raise DataError(f"{_named(layer)} standardizes by {layer._standardize!r} already; leave lower and strip out.")
    for odd, what in (
        (layer._output_mode != "int", f"gives out vectors of the kind {layer._output_mode!r}"),
        (bool(layer._ngrams), "has ngrams"),
        (layer._split is None, "splits no text"),
    ):
        if odd:
            raise DataError(
                f"{_named(layer)} {what}; expected output_mode='int', split='whitespace' or 'character', and no "
                "ngrams: one token per word. Or let the model begin with the layer, and export that."
            )
    declared = None if lower is None and strip is None else {"lower": bool(lower), "strip_punctuation": strip or ""}
    try:
        tokenizer = word_tokenizer_of(layer, declared)
    except InputError as error:
        remedy = "Split by 'whitespace' or 'character'."
        if own and declared is None:
            remedy = "Say what it does: lower=True if it makes capital letters small, strip='...' what it leaves out."
        raise DataError(f"{_named(layer)} {error}, which no file can hold. {remedy}") from None
    if len(tokenizer.words) == 2:
        raise DataError(f"{_named(layer)} has no vocabulary yet; call its adapt first.")
    if declared:
        _check(layer, tokenizer)
    special = {"start": _token(tokenizer.words, start), "end": _token(tokenizer.words, end)}
    return WordTokenizer.from_json(tokenizer.to_json() | special)


def _named(layer: Any) -> str:
    return f"The layer {layer.name} (TextVectorization)"


def _token(words: list[str], word: str | None) -> int | None:
    if word is None:
        return None
    if word not in words[2:] or not word:
        raise DataError(f"{word!r} is no word of the vocabulary, which begins with {words[2:7]}.")
    return words.index(word, 2)


def _check(layer: Any, tokenizer: WordTokenizer) -> None:
    """
    Raises:
        DataError: the layer makes other tokens of random texts than the tokenizer.
    """
    draw = random.Random(0)
    known = draw.sample(tokenizer.words[2:], min(len(tokenizer.words) - 2, 500))
    known += [change(word) for word in known for change in (str.upper, str.capitalize)]
    marks = [*string.punctuation, *string.ascii_uppercase, *" \t", "¿", "¡", "’", "É", "ñ", "—", "\u00a0"]
    marks += [character for character in str(tokenizer.strip_punctuation) if character.isprintable()]
    texts = [
        "".join(draw.choice(known) + draw.choice([" ", draw.choice(marks)]) for _ in range(draw.randint(1, _WORDS)))
        for _ in range(_TEXTS)
    ]
    for text in texts:
        made = layer([text])
        ids, expected = tokenizer.encode(text), np.asarray(made.to_tensor() if layer._ragged else made)[0]
        if not np.array_equal(np.trim_zeros(ids, "b"), np.trim_zeros(expected, "b")):
            raise DataError(
                f"{_named(layer)} makes the tokens {expected.tolist()} of {text!r}, and lower={tokenizer.lower}, "
                f"strip={tokenizer.strip_punctuation!r} would make {ids.tolist()}; expected the same."
            )
