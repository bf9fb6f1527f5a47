"""What of a tokenizer.json the library `tokenizers` reads and then dies of, hangs on or fills the memory with.

It is refused before the library sees it: some of it ends the process, which no handler of errors can stop.
"""

import base64
import binascii
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from tfseq.errors import ArtefactError
from tfseq.runtime.printable import shown

MOST_TOKENS = 2**24  # the library makes lists as long as the largest id
MOST_GROWTH = 64  # characters that replacements may make of one


def check_description(value: Any) -> None:
    """Whether a tokenizer.json is one that can be used on any text.

    Args:
        value: its JSON.

    Raises:
        ArtefactError: it is none, or not safe.
    """
    if not isinstance(value, Mapping) or not isinstance(value.get("model"), Mapping):
        raise _damaged("it is no object with a model")
    added = value.get("added_tokens") or ()
    if not isinstance(added, list | tuple) or not all(isinstance(token, Mapping) for token in added):
        raise _damaged("added_tokens is no list of objects")
    model = value["model"]
    _check_ids(model.get("vocab"), [token.get("id") for token in added])
    _check_unknown(model, [token.get("content") for token in added], value.get("pre_tokenizer"))
    for stage in ("normalizer", "pre_tokenizer", "decoder"):
        parts = list(_parts(value.get(stage)))
        for part in parts:
            _check_regex(part.get("pattern"))
            if part.get("type") == "Precompiled":
                _check_charsmap(part.get("precompiled_charsmap"))
        growth = _growth(parts)
        if growth > MOST_GROWTH:
            raise _damaged(f"its replacements may make {growth:.3g} characters of one; {MOST_GROWTH} at most")


def _check_ids(vocabulary: Any, added: list[Any]) -> None:
    ids = [*(vocabulary.values() if isinstance(vocabulary, Mapping) else ()), *added]
    for id_ in ids:
        if type(id_) is not int or not 0 <= id_ < MOST_TOKENS:
            raise _damaged(f"the id of a token is {shown(id_)}; expected 0 to {MOST_TOKENS - 1}")


def _check_unknown(model: Mapping[str, Any], added: list[Any], pre_tokenizer: Any) -> None:
    """The token for what the vocabulary lacks has to be in the vocabulary, or such text can't be encoded."""
    vocabulary, kind = model.get("vocab"), model.get("type")
    unknown = model.get("unk_token")
    if unknown is not None and not isinstance(unknown, str):
        raise _damaged(f"unk_token is {shown(unknown)}; expected a text")
    if unknown is None or not isinstance(vocabulary, Mapping) or unknown in vocabulary or unknown in added:
        return
    all_bytes = kind == "BPE" and any(part.get("type") == "ByteLevel" for part in _parts(pre_tokenizer))
    if not all_bytes and not (kind == "BPE" and model.get("byte_fallback")):
        raise _damaged(f"unk_token is {shown(unknown)}, which is not in the vocabulary")


def _parts(value: Any, deeper: int = 8) -> Iterator[Mapping[str, Any]]:
    """A step and those in it, of sequences of sequences."""
    if not isinstance(value, Mapping):
        return
    yield value
    for name in ("normalizers", "pretokenizers", "decoders"):
        for inner in value[name] if isinstance(value.get(name), list) else ():
            if deeper == 0:
                raise _damaged("its steps are nested too deeply")
            yield from _parts(inner, deeper - 1)


def _growth(parts: list[Mapping[str, Any]]) -> float:
    """The most characters that the replacements among the steps make of one, each of what the ones before it made."""
    growth, sizes = 1.0, dict[str, float]()  # what a character becomes by steps that replace single ones, from here on
    for part in reversed(parts):
        characters = _characters(part.get("pattern")) if part.get("type") == "Replace" else None
        if characters is None:
            growth *= max(sizes.values(), default=1.0) * (
                _growth_of_one(part) if part.get("type") == "Replace" else 1.0
            )
            sizes = {}
        else:
            size = sum(sizes.get(character, 1.0) for character in _content(part))
            sizes |= dict.fromkeys(characters, max(1.0, size))
    return growth * max(sizes.values(), default=1.0)


def _characters(pattern: Any) -> str | None:
    """The single characters that a pattern matches, if it is a list of such."""
    pattern = pattern if isinstance(pattern, Mapping) else {}
    text, regex = pattern.get("String"), pattern.get("Regex")
    if isinstance(text, str) and len(text) == 1:
        return text
    if isinstance(regex, str) and re.fullmatch(r"\[(\\x\{[0-9a-f]{1,6}\})+\]", regex):
        return "".join(chr(int(code, 16)) for code in re.findall("[0-9a-f]+(?=})", regex))
    return None


def _content(part: Mapping[str, Any]) -> str:
    content = part.get("content")
    if not isinstance(part.get("pattern"), Mapping) or not isinstance(content, str):
        raise _damaged("a replacement has no pattern or no content")
    return content


def _growth_of_one(part: Mapping[str, Any]) -> float:
    """The most characters that a replacement makes of one."""
    content = _content(part)
    text = part["pattern"].get("String")
    if isinstance(text, str):
        return max(1.0, len(content) / len(text)) if text else 1.0 + len(content)
    return 1.0 + len(content)  # it may match between characters, too


def _check_regex(pattern: Any) -> None:
    regex = pattern.get("Regex") if isinstance(pattern, Mapping) else None
    if isinstance(regex, str) and is_catastrophic(regex):
        raise _damaged(f"the time of its pattern {shown(regex)} doubles with each character: a repeat in a repeat")


_PIECES = re.compile(
    r"""\\[pPxu]\{[^}]*\}|\\.|\[(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|"""
    r"""(?P<open>\((?:\?(?:[:=!>]|<[=!]|<\w+>|[a-z-]+:|[a-z-]+(?=\))|\#[^)]*))?)|"""
    r"""(?P<close>\))|(?P<repeat>[*+]|\{\d*(?:,\d*)?\})(?P<how>[?+]?)|.""",
    re.DOTALL,
)
_MANY = 10


def is_catastrophic(regex: str) -> bool:
    """Whether a regular expression repeats without limit what repeats without limit, as (a+)+, or refers back.

    Such a one may try every way to share out the text. Atomic groups and possessive repeats, which try one, are none.
    """
    groups: list[list[bool]] = [[False, False]]  # of each open group: whether a repeat is in it, whether it is atomic
    inner = False  # whether the piece before is a group with a repeat in it
    for piece in _PIECES.finditer(regex):
        if re.fullmatch(r"\\[1-9k]", piece[0]):
            return True
        if piece["open"]:
            groups.append([False, piece["open"] in ("(?>", "(?=", "(?!", "(?<=", "(?<!")])
            inner = False
        elif piece["close"]:
            if len(groups) == 1:
                return False  # not a regular expression, which the library says itself
            repeats, atomic = groups.pop()
            inner = repeats and not atomic
            groups[-1][0] |= inner
        elif piece["repeat"] and _is_many(piece["repeat"]):
            if piece["how"] == "+" and piece["repeat"] in "*+":
                inner = False
            elif inner:
                return True
            else:
                groups[-1][0] = True
        elif not piece["repeat"] and piece[0] != "?":
            inner = False
    return False


def _is_many(repeat: str) -> bool:
    if repeat in "*+":
        return True
    low, comma, high = repeat[1:-1].partition(",")
    most = high if comma else low
    return (bool(comma) and not high) or (most != "" and int(most[:9]) > _MANY)


def _check_charsmap(value: Any) -> None:
    """The size of a trie, as many bytes of it, and texts with ends, in base64."""
    try:
        content = base64.b64decode(value, validate=True)
        (size,) = struct.unpack_from("<I", content)
        content[4 + size :].decode()
    except (TypeError, ValueError, struct.error, binascii.Error):
        raise _damaged("its precompiled_charsmap can't be read") from None
    if size % 4 or not size or size > len(content) - 4:
        raise _damaged("its precompiled_charsmap is cut off")


def _damaged(what: str) -> ArtefactError:
    return ArtefactError(f"A tokenizer is damaged, or needs a newer `tokenizers`: {what}.")
