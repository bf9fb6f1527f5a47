"""`WordTokenizer`: words between white space, single characters or n-grams, as Keras' TextVectorization splits text."""

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime.printable import shown
from tfseq.runtime.subword_tokenizer import without_surrogates
from tfseq.runtime.tokenizer_base import REPLACEMENT, Tokenizer, checked_ids

MOST_LENGTH = 2**20  # tokens of a text
MOST_GRAMS = 64  # words of an n-gram, and kinds of them
SPLITS = ("whitespace", "character")
_PADDING, _UNKNOWN = 0, 1
_WORD = re.compile(r"[^\t-\r ]+")
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


class WordTokenizer(Tokenizer):
    """One token per word, character or n-gram, by a list of them.

    Letters, punctuation and white space are those of ASCII, as TensorFlow has them: other letters keep their case, and
    a no-break space is a part of a word.

    Args:
        words: `words[i]` is the text of token i. `words[0]` is "", what texts are padded with, and `words[1]` stands
            for unknown words. Others may be "", too: tokens that no text has.
        lower: whether capital letters become small ones.
        strip_punctuation: whether punctuation is left out; or the characters that are.
        split: "whitespace" or "character".
        ngrams: how many words, put together by spaces, make a token, each in turn; () for the words alone.
        length: tokens of every text, cut off or padded with 0 to as many; None for as many as there are.
        pad: whether shorter texts are padded to `length`.
        start, end: tokens that a generator begins and ends with, which are no text; None for none.

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
        strip_punctuation: bool | str = False,
        split: str = "whitespace",
        ngrams: Sequence[int] = (),
        length: int | None = None,
        pad: bool = True,
        start: int | None = None,
        end: int | None = None,
    ):
        self.words, self.lower, self.strip_punctuation = list(words), lower, strip_punctuation
        self.split, self.ngrams, self.length, self.pad = split, tuple(ngrams), length, pad
        self.start, self.end = start, end
        if len(self.words) < 2 or self.words[0] != "" or not all(isinstance(word, str) for word in self.words):
            raise InputError("words is no list of texts that begins with '', for padding, and the unknown word.")
        if split not in SPLITS:
            raise InputError(f"split is {split!r}; expected one of {', '.join(SPLITS)}.")
        if not (isinstance(lower, bool) and isinstance(pad, bool) and isinstance(strip_punctuation, bool | str)):
            raise InputError("lower and pad are True or False, strip_punctuation too, or the characters to strip.")
        for name, number in (*(("ngrams", n) for n in self.ngrams), ("length", 1 if length is None else length)):
            if type(number) is not int or number < 1:
                raise InputError(f"{name} holds {shown(number)}; expected whole numbers of at least 1.")
        if (length or 0) > MOST_LENGTH or max(self.ngrams, default=0) > MOST_GRAMS or len(self.ngrams) > MOST_GRAMS:
            raise InputError(
                f"ngrams are {shown(self.ngrams)}, length {shown(length)}; expected {MOST_GRAMS} at most, and "
                f"{MOST_LENGTH:,}: each text takes memory for as many."
            )
        for name, token in (("start", start), ("end", end)):
            if token is not None and (type(token) is not int or not 0 < token < len(self.words)):
                raise InputError(f"{name} is {token!r}; expected None or a token, 1 to {len(self.words) - 1}.")
        self._tokens = {word: token for token, word in enumerate(self.words) if token > _UNKNOWN and word}
        stripped = strip_punctuation if isinstance(strip_punctuation, str) else string.punctuation
        self._left_out = str.maketrans("", "", stripped) if strip_punctuation else {}

    @property
    def vocabulary_size(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> np.ndarray:
        """The token ids of `text`, (time,) int32, `length` of them where that is set."""
        ids = [self._tokens.get(word, _UNKNOWN) for word in self._split(text)][: self.length]
        wanted = (self.length or 0) if self.pad else 0
        return np.array(ids + [_PADDING] * (wanted - len(ids)), np.int32)

    def decode(self, ids: Any) -> str:
        """The words of token ids, (time,) integers, with spaces between them; U+FFFD for unknown ones.

        Padding, start and end become nothing.

        Raises:
            InputError: an id is outside the vocabulary, or `ids` is not a list of integers.
        """
        silent = (_PADDING, self.start, self.end)
        written = (int(id_) for id_ in checked_ids(ids, len(self.words)) if id_ not in silent)
        words = [REPLACEMENT if id_ == _UNKNOWN else self.words[id_] or REPLACEMENT for id_ in written]
        return (" " if self.split == "whitespace" else "").join(words)

    def unknown(self, text: str) -> list[str]:
        return [word for word in dict.fromkeys(self._split(text)) if word not in self._tokens]

    def _split(self, text: str) -> list[str]:
        text = without_surrogates(text)
        if self.lower:
            text = text.translate(_LOWER)
        text = text.translate(self._left_out)
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
            "pad": self.pad,
            "start": self.start,
            "end": self.end,
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
            split, length, pad = value.get("split", SPLITS[0]), value.get("length"), value.get("pad", True)
            return cls(words, lower, strip, split, ngrams, length, pad, value.get("start"), value.get("end"))
        except InputError as error:
            raise ArtefactError(f"A tokenizer of words is damaged: {error}") from None
