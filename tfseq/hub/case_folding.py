"""Characters that case folding takes apart: KerasHub splits texts before it folds, the library `tokenizers` after.

An ellipsis, say, folds to three full stops, and a no-break space to a space. In KerasHub they are in a word by then,
which they do not part. Here they become characters of the private use area first, which stand for a full stop or a
space within a word, and the vocabulary has its tokens a second time with these.
"""

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

WITHIN_A_WORD = 0xF0000  # plus a delimiter's code point, of which none here is above 0xFFFF
NO_TOKEN = "\U00100000"  # in place of what no token spells
IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


def kept_whole(
    vocabulary: Mapping[str, int], split_on_cjk: bool
) -> tuple[dict[str, str], dict[str, int], dict[str, str]]:
    """What makes folded characters stay in their words.

    Args:
        vocabulary: of WordPiece, token ids by token.
        split_on_cjk: whether each ideograph is a word.

    Returns:
        characters by what is to be put in their place, before texts are folded; tokens to be added to the vocabulary;
        and what they are to be decoded to, by character.
    """
    spelled = set().union(*vocabulary)
    replaced: defaultdict[str, str] = defaultdict(str)
    used: set[str] = set()
    for character, folded, alone in _folded_apart(split_on_cjk):
        parts = [part for part in folded if _kind(part, split_on_cjk)]
        if spelled.issuperset(parts):
            used.update(parts)
            word = "".join(_within(part) if part in parts else part for part in folded)
        else:
            word = NO_TOKEN
        replaced[f" {word} " if alone else word] += character
    table = str.maketrans({part: _within(part) for part in used})
    added = {token.translate(table): id_ for token, id_ in vocabulary.items() if not used.isdisjoint(token)}
    return dict(replaced), added, {_within(part): part for part in sorted(used)}


def _within(delimiter: str) -> str:
    return chr(WITHIN_A_WORD + ord(delimiter))


@cache
def _folded_apart(split_on_cjk: bool) -> list[tuple[str, str, bool]]:
    """Characters whose folding holds delimiters, that folding, and whether the character is a word of its own."""
    return list(_found(split_on_cjk))


def _found(split_on_cjk: bool) -> Iterator[tuple[str, str, bool]]:
    for code in range(0x110000):
        character = chr(code)
        folded = unicodedata.normalize("NFKC", character)
        kind = _kind(character, split_on_cjk)
        if folded == character or kind == "between" or (kind and len(folded) == 1):
            continue
        if any(_kind(part, split_on_cjk) for part in folded):
            yield character, folded, bool(kind)


def _kind(character: str, split_on_cjk: bool) -> Any:
    """ "between" words, or "word", one by itself; None of characters of longer words."""
    code, category = ord(character), unicodedata.category(character)
    if character in " \t\n\r\f" or category in ("Cc", "Cf"):
        return "between"
    punctuation = category[0] == "P" or (code < 128 and not character.isalnum())
    ideograph = split_on_cjk and any(first <= code <= last for first, last in IDEOGRAPHS)
    return "word" if punctuation or ideograph else None
