"""Character-level tokenizers: one token per character, or its Unicode code point."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime.printable import shown
from tfseq.runtime.tokenizer_base import REPLACEMENT, Tokenizer, checked_ids

PADDING, UNKNOWN = "<pad>", "<unk>"
START, END = "<start>", "<end>"
_NO_TEXT = (PADDING, START, END)


class _OfSymbols(Tokenizer):
    """A tokenizer that is described by its symbols: the characters it knows, and special tokens."""

    symbols: list[str]

    def unknown(self, text: str) -> list[str]:
        return unknown_characters(text, self.symbols)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "symbols": self.symbols}


class CharacterTokenizer(_OfSymbols):
    """One token per character (Unicode code point).

    Args:
        symbols: `symbols[i]` is the character of token i. `symbols[0]` is "<unk>", any other character, or "<pad>",
            what sources are padded with; then "<unk>" is another one. "<pad>", "<start>" and "<end>" are not text:
            nothing is encoded to them, and they decode to nothing.

    Raises:
        InputError: `symbols` does not start with "<unk>" or "<pad>", lacks "<unk>", repeats a symbol, or holds one
            that is not one character.

    Example:
        >>> tokenizer = CharacterTokenizer(["<unk>", "e", "h", "l", "o"])
        >>> tokenizer.encode("hello")
        array([2, 1, 3, 3, 4], dtype=int32)
    """

    kind = "characters"

    def __init__(self, symbols: Sequence[str]):
        self.symbols = list(symbols)
        if not self.symbols or self.symbols[0] not in (UNKNOWN, PADDING):
            raise InputError(
                f"The first symbol is {self.symbols[:1]}; expected {UNKNOWN!r}, the unknown character, or {PADDING!r}."
            )
        if UNKNOWN not in self.symbols:
            raise InputError(f"There is no symbol {UNKNOWN!r}, which stands for unknown characters.")
        for symbol in self.symbols[1:]:
            if not isinstance(symbol, str) or (len(symbol) != 1 and symbol not in (UNKNOWN, START, END)):
                raise InputError(f"The symbol {shown(symbol)} is not a single character.")
        if len(set(self.symbols)) < len(self.symbols):
            twice = sorted(symbol for symbol, count in Counter(self.symbols).items() if count > 1)
            raise InputError(f"Each symbol may appear once; these are repeated: {shown(''.join(twice))}.")
        self.start, self.end = (self.symbols.index(name) if name in self.symbols else None for name in (START, END))
        characters = [i for i, symbol in enumerate(self.symbols) if len(symbol) == 1]
        self.code_points = np.full(len(self.symbols), ord(REPLACEMENT), np.int32)
        self.code_points[characters] = [ord(self.symbols[i]) for i in characters]
        self._is_text = np.array([symbol not in _NO_TEXT for symbol in self.symbols])
        known = self.code_points[characters]
        beyond = int(known.max(initial=0)) + 1  # of a character that is unknown
        self._token_of_code = np.full(beyond + 1, self.symbols.index(UNKNOWN), np.int32)
        self._token_of_code[known] = characters

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens, the unknown one included."""
        return len(self.symbols)

    def encode(self, text: str) -> np.ndarray:
        """Token ids of `text`, (time,) int32, one per character; that of "<unk>" where it is unknown."""
        return self._token_of_code[np.minimum(code_points(text), len(self._token_of_code) - 1)]

    def decode(self, ids: Any) -> str:
        """The text of token ids, (time,) integers; the unknown token becomes U+FFFD, padding, start and end nothing.

        Raises:
            InputError: an id is outside the vocabulary, or `ids` is not a list of integers.
        """
        ids = checked_ids(ids, self.vocabulary_size)
        return text_of(self.code_points[ids[self._is_text[ids]]])

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            ArtefactError: `value` does not describe a character tokenizer.
        """
        try:
            return cls(_symbols(value, cls.kind))
        except InputError as error:
            raise ArtefactError(f"A character tokenizer is damaged: {error}") from None


class CodePointTokenizer(_OfSymbols):
    """Unicode code points themselves, for a graph that maps them to its token ids and back.

    Args:
        symbols: the characters that the graph knows, and special tokens such as "<unk>", which are no text. A
            character that it does not know, it reads as its unknown token.
    """

    kind = "code_points"
    vocabulary_size = 0x110000

    def __init__(self, symbols: Sequence[str]):
        self.symbols = list(symbols)

    def encode(self, text: str) -> np.ndarray:
        """The code points of `text`, (time,) int32."""
        return code_points(text).astype(np.int32)

    def decode(self, ids: Any) -> str:
        """The text of code points, (time,) integers.

        Raises:
            InputError: Unicode has no such code point, or `ids` is not a list of integers.
        """
        return text_of(checked_ids(ids, self.vocabulary_size))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            ArtefactError: `value` does not describe code points.
        """
        return cls(_symbols(value, cls.kind))


def code_points(text: str) -> np.ndarray:
    """The Unicode code points of a text, lone surrogates included, (time,) uint32."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def text_of(codes: np.ndarray) -> str:
    """The inverse of `code_points`."""
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def unknown_characters(text: str, symbols: Sequence[str]) -> list[str]:
    """The characters of `text` that are none of `symbols`, each once, in the order they first appear."""
    known = set(symbols)
    return [character for character in dict.fromkeys(text) if character not in known]


def _symbols(value: Mapping[str, Any], kind: str) -> list[str]:
    symbols = value.get("symbols")
    if value.get("kind") != kind or not isinstance(symbols, list):
        raise ArtefactError(f'Not a tokenizer of characters; expected {{"kind": "{kind}", "symbols": [...]}}.')
    if not all(isinstance(symbol, str) for symbol in symbols):
        raise ArtefactError("A tokenizer of characters is damaged: a symbol of it is no text.")
    return symbols
