"""`Tokenizer`, the abstract base class: text to token ids and back, and as JSON."""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime.atomic_write import atomic_write
from tfseq.runtime.printable import shown
from tfseq.runtime.schema import parsed_json

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class Tokenizer(ABC):
    """Text to token ids and back.

    Token 0 is padding.

    Attributes:
        start: the token that decoding begins with; None if there is none.
        end: the token that ends a sequence; None if there is none.
        prepend: tokens that what a model reads begins with: a prompt, a source, or a text to classify; not the prompt
            beside a source.
        append: tokens that an encoder-decoder's source ends with, and a text to classify.
        splits_characters: whether a token may be a part of a character.
        takes_empty: whether a text among others may have no token, and is padding then.
    """

    kind: ClassVar[str]
    start: int | None = None
    end: int | None = None
    prepend: tuple[int, ...] = ()
    append: tuple[int, ...] = ()
    splits_characters: bool = False
    takes_empty: bool = False

    @property
    def writer(self) -> "Tokenizer":
        """The tokenizer of what a model writes, and of its prompts: this one, or the target's of a pair."""
        return self

    @property
    @abstractmethod
    def vocabulary_size(self) -> int:
        """Number of tokens, padding and the like included."""

    @abstractmethod
    def encode(self, text: str) -> np.ndarray:
        """The token ids of `text`, (time,) int32; nothing is put before or after them."""

    @abstractmethod
    def decode(self, ids: Any) -> str:
        """The text of token ids, (time,) integers.

        Raises:
            InputError: an id is outside the vocabulary, or `ids` is not a list of integers.
        """

    @abstractmethod
    def unknown(self, text: str) -> list[str]:
        """The characters or words of `text` that have no token, each once, in the order they first appear."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """A dictionary of JSON's own types, as manifests hold it; "kind" says which tokenizer it is."""

    @classmethod
    @abstractmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            ArtefactError: `value` does not describe a tokenizer of this kind.
        """

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the tokenizer as a JSON file.

        Raises:
            OSError: the file can't be written.
        """
        with atomic_write(path) as temporary:
            temporary.write_text(json.dumps(self.to_json()) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Reads what `save` wrote.

        Raises:
            ArtefactError: the file is missing or is no tokenizer of this kind.
        """
        return cls.from_json(read_json(path))


def read_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The object in a tokenizer's file.

    Raises:
        ArtefactError: the file is missing or holds no JSON object.
    """
    path = Path(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ArtefactError(f"Can't read the tokenizer {path}: {error.strerror or error}.") from None
    except ValueError:  # a path with a null character
        raise ArtefactError(f"There is no tokenizer {path}.") from None
    try:
        value = parsed_json(text, "It")
    except ArtefactError as error:
        raise ArtefactError(f"The tokenizer {path} can't be used: {error}") from None
    if not isinstance(value, dict):
        raise ArtefactError(f"{path} is not a tokenizer: expected a JSON object.")
    return value


def checked_ids(ids: Any, size: int) -> np.ndarray:
    """Token ids as an array, (time,).

    Raises:
        InputError: an id is below 0, or `size` or more; or `ids` is not a list of integers.
    """
    try:
        ids = np.asarray(ids)
    except ValueError:
        raise InputError("Token ids are ragged; expected integers of shape (time,).") from None
    except Exception:
        raise InputError(f"Token ids are {shown(ids)}; expected integers of shape (time,).") from None
    if ids.size == 0:
        return np.zeros(0, np.int32)
    if ids.ndim != 1 or ids.dtype.kind not in "iu":
        raise InputError(f"Token ids are {ids.dtype} of shape {ids.shape}; expected integers of shape (time,).")
    outside = (ids < 0) | (ids >= size)
    if outside.any():
        raise InputError(f"Token {ids[outside][0]} is outside the vocabulary of {size} tokens.")
    return ids
