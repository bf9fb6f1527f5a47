"""Tokenizers by the kind that a manifest or file names, and `TokenizerPair` for encoder-decoders."""

import json
import os
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from tfseq.errors import ArtefactError
from tfseq.runtime.character_tokenizer import END, START, UNKNOWN, CharacterTokenizer, CodePointTokenizer
from tfseq.runtime.printable import shown
from tfseq.runtime.subword_tokenizer import SubwordTokenizer
from tfseq.runtime.tokenizer_base import Tokenizer, read_json
from tfseq.runtime.word_tokenizer import WordTokenizer

__all__ = [
    "END",
    "START",
    "UNKNOWN",
    "CharacterTokenizer",
    "CodePointTokenizer",
    "SubwordTokenizer",
    "Tokenizer",
    "TokenizerPair",
    "WordTokenizer",
    "load_tokenizer",
    "read_tokenizer",
]


class TokenizerPair(Tokenizer):
    """Two tokenizers, of an encoder-decoder that reads with one vocabulary and writes with another.

    Args:
        source: of what is read.
        target: of what is written; `start`, `end` and `vocabulary_size` are its own.
    """

    kind = "pair"

    def __init__(self, source: Tokenizer, target: Tokenizer):
        self.source, self.target = source, target
        self.start, self.end = target.start, target.end
        self.prepend, self.append = source.prepend, source.append
        self.splits_characters = target.splits_characters

    @property
    def writer(self) -> Tokenizer:
        return self.target

    @property
    def vocabulary_size(self) -> int:
        return self.target.vocabulary_size

    def encode(self, text: str) -> np.ndarray:
        """Token ids of a source, (time,) int32."""
        return self.source.encode(text)

    def decode(self, ids: Any) -> str:
        """The text of token ids that were written, (time,) integers.

        Raises:
            InputError: an id is outside the vocabulary, or `ids` is not a list of integers.
        """
        return self.target.decode(ids)

    def unknown(self, text: str) -> list[str]:
        return self.source.unknown(text)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "source": self.source.to_json(), "target": self.target.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            ArtefactError: `value` does not describe two tokenizers.
        """
        source, target = value.get("source"), value.get("target")
        if value.get("kind") != cls.kind or not isinstance(source, Mapping) or not isinstance(target, Mapping):
            raise ArtefactError(
                'Not a pair of tokenizers; expected {"kind": "pair", "source": {...}, "target": {...}}.'
            )
        return cls(load_tokenizer(source), load_tokenizer(target))


_KINDS: dict[str, type[Tokenizer]] = {
    kind.kind: kind for kind in (CharacterTokenizer, CodePointTokenizer, SubwordTokenizer, TokenizerPair, WordTokenizer)
}


def load_tokenizer(value: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that `to_json` described, of the class its "kind" names.

    Raises:
        ArtefactError: the kind is unknown, or the description is damaged.
    """
    kind = value.get("kind") if isinstance(value, Mapping) else value
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ArtefactError(
            f"This tfseq knows no tokenizer of kind {shown(kind)} (known: {', '.join(_KINDS)}); a newer tfseq may."
        )
    return _KINDS[kind].from_json(value)


def read_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer in a JSON file: one that `save` wrote, or the tokenizer.json of the library `tokenizers`.

    Raises:
        ArtefactError: the file is missing, is no tokenizer, or is damaged.
    """
    value = read_json(path)
    try:
        if "kind" not in value and "model" in value:
            return SubwordTokenizer(json.dumps(value))
        return load_tokenizer(value)
    except ArtefactError as error:
        raise ArtefactError(f"The tokenizer {path} can't be used: {error}") from None
