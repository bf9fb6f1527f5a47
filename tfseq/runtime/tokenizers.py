"""The tokenizers that there are, by the kind that a manifest or a file names."""

import json
import os
from collections.abc import Mapping
from typing import Any

from tfseq.errors import ArtefactError
from tfseq.runtime.characters import END, START, UNKNOWN, CharacterTokenizer, CodePointTokenizer
from tfseq.runtime.subwords import SubwordTokenizer
from tfseq.runtime.tokenizer import Tokenizer, read_json

__all__ = [
    "END",
    "START",
    "UNKNOWN",
    "CharacterTokenizer",
    "CodePointTokenizer",
    "SubwordTokenizer",
    "Tokenizer",
    "load_tokenizer",
    "read_tokenizer",
]

_KINDS: dict[str, type[Tokenizer]] = {
    kind.kind: kind for kind in (CharacterTokenizer, CodePointTokenizer, SubwordTokenizer)
}


def load_tokenizer(value: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that `to_json` described, of the class its "kind" names.

    Raises:
        ArtefactError: the kind is unknown, or the description is damaged.
    """
    kind = value.get("kind") if isinstance(value, Mapping) else value
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ArtefactError(
            f"This tfseq knows no tokenizer of kind {kind!r} (known: {', '.join(_KINDS)}); a newer tfseq may."
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
