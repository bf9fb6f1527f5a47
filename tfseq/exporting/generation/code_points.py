"""A character tokenizer inside the graph: code points to token ids and back, so that its caller needs no tokenizer.

A code point is looked up in two small tables, as Unicode stores its own data (The Unicode Standard, section 5.1,
"multistage tables"): one says for each page of 256 code points where the token ids of its characters stand in the
other. Pages that are equal, such as all without a known character, stand there once.

The caller's side of it, for parity checks, is in `token_interface`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from tfseq.runtime.character_tokenizer import UNKNOWN
from tfseq.runtime.tokenizer_kinds import CharacterTokenizer

REPLACEMENT = 0xFFFD
PAGE_BITS = 8
PAGE = 1 << PAGE_BITS  # code points


class CodePoints:
    """A character tokenizer as lookup tables in a graph.

    Args:
        symbols: `symbols[i]` is the character of token id i, or what no single character is: "<unk>", the unknown token
            (id 0 if there is none), "<pad>" and others.
        vocabulary_size: of the model; token ids beyond `symbols` have no character.
    """

    def __init__(self, symbols: Sequence[str], vocabulary_size: int):
        self.symbols = list(symbols)
        code_of = {i: ord(symbol) for i, symbol in enumerate(self.symbols) if len(symbol) == 1}
        self._pages, self._entries = _tables(code_of, self.symbols.index(UNKNOWN) if UNKNOWN in self.symbols else 0)
        self._codes = np.full(max(vocabulary_size, len(self.symbols)), REPLACEMENT, "int32")
        self._codes[list(code_of)] = list(code_of.values())

    def read(self, code_points):
        """Code points to token ids: the unknown token where there is none, and for integers that are no code points.

        Args:
            code_points: (...) int32.

        Returns:
            (...) int32.
        """
        last = len(self._pages) * PAGE - 1  # of an empty page
        code = ops.cast(ops.where(ops.logical_or(code_points < 0, code_points > last), last, code_points), "uint32")
        page = ops.cast(ops.bitwise_right_shift(code, np.uint32(PAGE_BITS)), "int32")
        within = ops.cast(ops.bitwise_and(code, np.uint32(PAGE - 1)), "int32")
        entries = ops.take(self._pages, page, axis=0) * PAGE + within
        return ops.take(self._entries, entries, axis=0)

    def write(self, tokens):
        """Token ids to code points: U+FFFD for those without a character.

        Args:
            tokens: (...) int32.

        Returns:
            (...) int32.
        """
        return ops.take(self._codes, tokens, axis=0)

    def write_rows(self, tokens, lengths):
        """Rows of token ids to code points, 0 behind the end of each.

        Args:
            tokens: (batch, time) int32.
            lengths: tokens in each row, (batch,) int32.

        Returns:
            (batch, time) int32.
        """
        inside = ops.arange(ops.shape(tokens)[1], dtype="int32") < ops.expand_dims(lengths, 1)
        return ops.where(inside, self.write(tokens), 0)

    def to_json(self) -> dict[str, Any]:
        """As the manifest's `tokenizer`."""
        return {"kind": "code_points", "symbols": self.symbols}


def code_points_of(tokenizer: Any, vocabulary_size: int) -> CodePoints | None:
    """The tables of a character tokenizer; None for other tokenizers."""
    return CodePoints(tokenizer.symbols, vocabulary_size) if isinstance(tokenizer, CharacterTokenizer) else None


def _tables(code_of: Mapping[int, int], unknown: int) -> tuple[np.ndarray, np.ndarray]:
    """The number of each page up to the first that is empty, as all after it are; the numbered pages end to end.

    Args:
        code_of: code points by token id.
        unknown: the token id of all other code points.
    """
    pages = max(code_of.values(), default=0) // PAGE + 2
    token_of = np.full(pages * PAGE, unknown, "int32")
    token_of[list(code_of.values())] = list(code_of)
    different, numbers = np.unique(token_of.reshape(pages, PAGE), axis=0, return_inverse=True)
    return numbers.reshape(-1).astype("int32"), different.reshape(-1)
