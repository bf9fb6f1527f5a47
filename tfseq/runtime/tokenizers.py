"""Text to token ids and back: what an artefact needs to read a prompt and to write its answer."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime.atomic_write import atomic_write

UNKNOWN = "<unk>"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class CharacterTokenizer:
    """One token per character (Unicode code point).

    Args:
        symbols: `symbols[i]` is the character of token i; `symbols[0]` is "<unk>", any other character.

    Raises:
        InputError: `symbols` does not start with "<unk>", repeats a character, or holds one that is not one character.

    Example:
        >>> tokenizer = CharacterTokenizer(["<unk>", "e", "h", "l", "o"])
        >>> tokenizer.encode("hello")
        array([2, 1, 3, 3, 4], dtype=int32)
    """

    kind = "characters"

    def __init__(self, symbols: Sequence[str]):
        self.symbols = list(symbols)
        if not self.symbols or self.symbols[0] != UNKNOWN:
            raise InputError(f"The first symbol is {self.symbols[:1]}; expected {UNKNOWN!r}, the unknown character.")
        characters = self.symbols[1:]
        for character in characters:
            if not isinstance(character, str) or len(character) != 1:
                raise InputError(f"The symbol {character!r} is not a single character.")
        if len(set(characters)) < len(characters):
            twice = sorted({c for c in characters if characters.count(c) > 1})
            raise InputError(f"Each symbol may appear once; these are repeated: {''.join(twice)!r}.")
        codes = np.array([ord(c) for c in characters], np.int64)
        self._token_of_code = np.zeros(int(codes.max(initial=0)) + 2, np.int32)  # the last entry stays 0, unknown
        self._token_of_code[codes] = np.arange(1, len(self.symbols))
        self._code_of_token = np.array([ord(REPLACEMENT), *codes], "<u4")

    @property
    def vocabulary_size(self) -> int:
        """Number of tokens, the unknown one included."""
        return len(self.symbols)

    def encode(self, text: str) -> np.ndarray:
        """Token ids of `text`, (time,) int32, one per character; 0 where the character is unknown."""
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        return self._token_of_code[np.minimum(codes, len(self._token_of_code) - 1)]

    def decode(self, ids: Any) -> str:
        """The text of token ids, (time,) integers; the unknown token becomes U+FFFD.

        Raises:
            InputError: an id is outside the vocabulary, or `ids` is not a list of integers.
        """
        ids = np.asarray(ids)
        if ids.size == 0:
            return ""
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            raise InputError(f"Token ids are {ids.dtype} of shape {ids.shape}; expected integers of shape (time,).")
        if ids.min() < 0 or ids.max() >= self.vocabulary_size:
            outside = ids[(ids < 0) | (ids >= self.vocabulary_size)][0]
            raise InputError(f"Token {outside} is outside the vocabulary of {self.vocabulary_size} symbols.")
        return self._code_of_token[ids].tobytes().decode("utf-32-le", "surrogatepass")

    def unknown_characters(self, text: str) -> list[str]:
        """The characters of `text` that have no token, each once, in the order they first appear."""
        known = set(self.symbols[1:])
        return [character for character in dict.fromkeys(text) if character not in known]

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "symbols": self.symbols}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "CharacterTokenizer":
        """The inverse of `to_json`.

        Raises:
            ArtefactError: `value` does not describe a character tokenizer.
        """
        symbols = value.get("symbols")
        if value.get("kind") != cls.kind or not isinstance(symbols, list):
            raise ArtefactError(f'Not a character tokenizer; expected {{"kind": "{cls.kind}", "symbols": [...]}}.')
        try:
            return cls(symbols)
        except InputError as error:
            raise ArtefactError(f"A character tokenizer is damaged: {error}") from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the tokenizer as a JSON file.

        Raises:
            OSError: the file can't be written.
        """
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(self.to_json()) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "CharacterTokenizer":
        """Reads what `save` wrote.

        Raises:
            ArtefactError: the file is missing or is no character tokenizer.
        """
        path = Path(path)
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ArtefactError(f"Can't read the tokenizer {path}: {error.strerror or error}.") from None
        except ValueError:
            raise ArtefactError(f"{path} is not a JSON file; expected a tokenizer saved by tfseq.") from None
        if not isinstance(value, dict):
            raise ArtefactError(f"{path} is not a tokenizer saved by tfseq: expected a JSON object.")
        return cls.from_json(value)


_KINDS = {CharacterTokenizer.kind: CharacterTokenizer}


def load_tokenizer(value: Mapping[str, Any]) -> CharacterTokenizer:
    """The tokenizer that `to_json` described, of the class its "kind" names.

    Raises:
        ArtefactError: the kind is unknown, or the description is damaged.
    """
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ArtefactError(
            f"This tfseq knows no tokenizer of kind {kind!r} (known: {', '.join(_KINDS)}); a newer tfseq may."
        )
    return _KINDS[kind].from_json(value)
