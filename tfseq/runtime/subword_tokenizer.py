"""`SubwordTokenizer`: BPE, Unigram, WordPiece and word-level tokenizers, by the library `tokenizers`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime.printable import printable, shown
from tfseq.runtime.schema import parsed_json
from tfseq.runtime.tokenizer_base import REPLACEMENT, Tokenizer, checked_ids
from tfseq.runtime.tokenizer_limits import check_description


class SubwordTokenizer(Tokenizer):
    """A tokenizer of the library `tokenizers` (Hugging Face): word-level, byte-level BPE, Unigram and so on.

    Special tokens come from `start`, `end`, `prepend` and `append` alone: a text that spells one, such as "<end>", is
    encoded as the characters it has, and what the JSON's post-processor would add, or its padding and truncation, is
    left out. Added tokens that are not special are found in texts.

    Args:
        description: the text of a tokenizer.json. In encoder-decoders token 0 is padding.
        start: the token that decoding begins with.
        end: the token that ends a sequence.
        append: tokens that a source ends with, or a text to classify.
        prepend: tokens that these and prompts begin with.

    Raises:
        ArtefactError: the library can't read `description`, or it has no such tokens.
    """

    kind = "tokenizers"

    def __init__(
        self,
        description: str,
        start: int | None = None,
        end: int | None = None,
        append: Sequence[int] = (),
        prepend: Sequence[int] = (),
    ):
        from tokenizers import Tokenizer as Library  # here, so that other files do without it

        value = parsed_json(description, "A tokenizer")
        check_description(value)
        model, added = value["model"], {token["id"]: token for token in value.get("added_tokens") or ()}
        with _guarded(ArtefactError, "A tokenizer is damaged, or needs a newer `tokenizers`"):
            self._library = Library.from_str(description)
            self._library.encode_special_tokens = True  # text is text, whatever it spells
            self._library.no_padding()
            self._library.no_truncation()
            self._size = 1 + max(self._library.get_vocab().values(), default=-1)
            self._json = _with_all_tokens(self._library.to_str(), model.get("vocab"))
            unknown = model.get("unk_token")
            self._unknown = model.get("unk_id") if unknown is None else self._library.token_to_id(unknown)
        self.start, self.end, self.append, self.prepend = start, end, tuple(append), tuple(prepend)
        added_to_texts = [("append", token) for token in append] + [("prepend", token) for token in prepend]
        for name, token in (("start", start), ("end", end), *added_to_texts):
            if token is not None and (type(token) is not int or not 0 <= token < self._size):
                raise ArtefactError(
                    f"A tokenizer is damaged: {name} is {shown(token)} in a vocabulary of {self._size}."
                )
        self.splits_characters = any(name in json.dumps(value.get("decoder")) for name in ("ByteLevel", "ByteFallback"))
        special = [id_ for id_, token in added.items() if token.get("special")] + [start, end]
        self._not_text = np.array([id_ for id_ in special if id_ not in (None, self._unknown)], np.int64)

    @property
    def vocabulary_size(self) -> int:
        return self._size

    def encode(self, text: str) -> np.ndarray:
        """The token ids of `text`, (time,) int32, and nothing else; lone surrogates become U+FFFD.

        Raises:
            InputError: the library can't encode it.
        """
        with _guarded(InputError, "The tokenizer can't encode this text"):
            return np.array(self._library.encode(without_surrogates(text), add_special_tokens=False).ids, np.int32)

    def decode(self, ids: Any) -> str:
        """The text of token ids, (time,) integers; padding, start and end become nothing.

        Raises:
            InputError: an id is outside the vocabulary, or `ids` is not a list of integers.
        """
        ids = checked_ids(ids, self._size)
        with _guarded(InputError, "The tokenizer can't decode these ids"):
            return self._library.decode(ids[~np.isin(ids, self._not_text)].tolist(), skip_special_tokens=False)

    def unknown(self, text: str) -> list[str]:
        readable = without_surrogates(text)
        lost = [] if readable == text else [character for character in _joined(text) if _is_surrogate(character)]
        if self._unknown is not None:
            with _guarded(InputError, "The tokenizer can't encode this text"):
                encoding = self._library.encode(readable, add_special_tokens=False)
            unknown = (span for id_, span in zip(encoding.ids, encoding.offsets) if id_ == self._unknown)
            lost += [readable[start:end].strip() or readable[start:end] for start, end in unknown]
        return list(dict.fromkeys(lost))

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "json": self._json,
            "start": self.start,
            "end": self.end,
            "append": list(self.append),
            **({"prepend": list(self.prepend)} if self.prepend else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`.

        Raises:
            ArtefactError: `value` does not describe such a tokenizer.
        """
        description, added = value.get("json"), [value.get(name) or [] for name in ("append", "prepend")]
        are_lists = all(isinstance(tokens, list) for tokens in added)
        if value.get("kind") != cls.kind or not isinstance(description, str) or not are_lists:
            raise ArtefactError(f'Not such a tokenizer; expected {{"kind": "{cls.kind}", "json": "...", ...}}.')
        return cls(description, value.get("start"), value.get("end"), *added)

    def token(self, text: str) -> int:
        """The id of the token that is spelled `text` in the vocabulary.

        Raises:
            InputError: there is none.
        """
        with _guarded(InputError, "The tokenizer can't look this up"):
            id_ = self._library.token_to_id(text)
        if id_ is None:
            raise InputError(f"The vocabulary has no token {text!r}.")
        return id_


def _with_all_tokens(written: str, vocabulary: Any) -> str:
    """Of tokens that share an id the library writes one."""
    value = json.loads(written)
    if not isinstance(vocabulary, Mapping) or len(value["model"]["vocab"]) == len(vocabulary):
        return written
    value["model"]["vocab"] = dict(vocabulary)
    return json.dumps(value, ensure_ascii=False)


@contextmanager
def _guarded(kind: type[Exception], what: str) -> Iterator[None]:
    """Makes what the library raises an error of ours; a panic of its Rust is no `Exception`.

    Args:
        kind: of the error.
        what: went wrong, for its message.
    """
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise kind(f"{what}: {printable(reason)}.") from None


def without_surrogates(text: str) -> str:
    """The text with each lone surrogate made U+FFFD, and each pair the character that it stands for."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return "".join(REPLACEMENT if _is_surrogate(character) else character for character in _joined(text))


def _joined(text: str) -> str:
    """The text with each pair of surrogates made the character it stands for."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _is_surrogate(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"
