"""`WordTokenizer`: words between white space, single characters or n-grams, as Keras' TextVectorization splits text."""

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime.subword_tokenizer import without_surrogates
from tfseq.runtime.tokenizer_base import REPLACEMENT, Tokenizer, checked_ids

SPLITS = ("whitespace", "character")
_PADDING, _UNKNOWN = 0, 1
_WORD = re.compile(r"[^\t-\r ]+")
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class WordTokenizer(Tokenizer):
    """One token per word, character or n-gram, by a list of them.

    Letters, punctuation and white space are those of ASCII, as TensorFlow has them: other letters keep their case, and
    a no-break space is a part of a word.

    Args:
        words: `words[i]` is the text of token i. `words[0]` is "", what texts are padded with, and `words[1]` stands
            for unknown words.
        lower: whether capital letters become small ones.
        strip_punctuation: whether punctuation is left out.
        split: "whitespace" or "character".
        ngrams: how many words, put together by spaces, make a token, each in turn; () for the words alone.
        length: tokens of every text, cut off or padded with 0 to as many; None for as many as there are.

    Raises:
        InputError: one of these is something else.

    Example:
        >>> tokenizer = WordTokenizer(["", "[UNK]", "the", "cat"], lower=True, strip_punctuation=True)
        >>> tokenizer.encode("The cat, the dog.")
        array([2, 3, 2, 1], dtype=int32)
    """

    kind = "words"
    takes_empty = True

    def __init__(
        self,
        words: Sequence[str],
        lower: bool = False,
        strip_punctuation: bool = False,
        split: str = "whitespace",
        ngrams: Sequence[int] = (),
        length: int | None = None,
    ):
        self.words, self.lower, self.strip_punctuation = list(words), lower, strip_punctuation
        self.split, self.ngrams, self.length = split, tuple(ngrams), length
        if len(self.words) < 2 or self.words[0] != "" or not all(isinstance(word, str) for word in self.words):
            raise InputError("words is no list of texts that begins with '', for padding, and the unknown word.")
        if split not in SPLITS:
            raise InputError(f"split is {split!r}; expected one of {', '.join(SPLITS)}.")
        if not all(isinstance(choice, bool) for choice in (lower, strip_punctuation)):
            raise InputError("lower and strip_punctuation are True or False.")
        for name, number in (*(("ngrams", n) for n in self.ngrams), ("length", 1 if length is None else length)):
            if type(number) is not int or number < 1:
                raise InputError(f"{name} holds {number!r}; expected whole numbers of at least 1.")
        self._tokens = {word: token for token, word in enumerate(self.words) if token > _UNKNOWN}

    @property
    def vocabulary_size(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> np.ndarray:
        """The token ids of `text`, (time,) int32, `length` of them where that is set."""
        ids = [self._tokens.get(word, _UNKNOWN) for word in self._split(text)][: self.length]
        return np.array(ids + [_PADDING] * ((self.length or 0) - len(ids)), np.int32)

    def decode(self, ids: Any) -> str:
        """The words of token ids, (time,) integers, with spaces between them; U+FFFD for unknown ones.

        Raises:
            InputError: an id is outside the vocabulary, or `ids` is not a list of integers.
        """
        words = [
            REPLACEMENT if id_ == _UNKNOWN else self.words[id_] for id_ in checked_ids(ids, len(self.words)) if id_
        ]
        return (" " if self.split == "whitespace" else "").join(words)

    def unknown(self, text: str) -> list[str]:
        return [word for word in dict.fromkeys(self._split(text)) if word not in self._tokens]

    def _split(self, text: str) -> list[str]:
        text = without_surrogates(text)
        if self.lower:
            text = text.translate(_LOWER)
        if self.strip_punctuation:
            text = text.translate(_NO_PUNCTUATION)
        words = _WORD.findall(text) if self.split == "whitespace" else list(text)
        return list(self._grams(words)) if self.ngrams else words

    def _grams(self, words: Sequence[str]) -> Iterator[str]:
        for count in self.ngrams:
            for start in range(len(words) - count + 1):
                yield " ".join(words[start : start + count])

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "words": self.words,
            "lower": self.lower,
            "strip_punctuation": self.strip_punctuation,
            "split": self.split,
            "ngrams": list(self.ngrams),
            "length": self.length,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            ArtefactError: `value` does not describe such a tokenizer.
        """
        words, ngrams = value.get("words"), value.get("ngrams") or []
        if value.get("kind") != cls.kind or not isinstance(words, list) or not isinstance(ngrams, list):
            raise ArtefactError(f'Not a tokenizer of words; expected {{"kind": "{cls.kind}", "words": [...], ...}}.')
        lower, strip = value.get("lower", False), value.get("strip_punctuation", False)
        try:
            return cls(words, lower, strip, value.get("split", SPLITS[0]), ngrams, value.get("length"))
        except InputError as error:
            raise ArtefactError(f"A tokenizer of words is damaged: {error}") from None
