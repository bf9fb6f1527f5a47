"""The token interface of a generation file: text in and out as token ids or as code points, seen from its caller.

Parity is checked in token ids. Where `code_points` has put its tables into the graph, `CodePointInterface` writes code
points for it and reads those it answers with, in NumPy and without the tables, so that they are checked, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfseq.exporting.generation.code_points import REPLACEMENT
from tfseq.exporting.signatures.generator_inputs import texts
from tfseq.exporting.signatures.signature import Run
from tfseq.runtime.character_tokenizer import UNKNOWN
from tfseq.runtime.manifest import TensorSpec


class TokenIdInterface:
    """A file that reads and writes token ids.

    Attributes:
        readable: the token ids that inputs can hold; None for all.
    """

    readable: Sequence[int] | None = None

    def in_token_ids(self, run: Run, inputs: Sequence[TensorSpec]) -> Run:
        """`run`, whose inputs are `inputs`, as a function of token ids to token ids."""
        return run

    def round_trip(self, tokens: np.ndarray) -> np.ndarray:
        """Token ids as the file gives them back: those that it can't tell apart become one."""
        return tokens


class CodePointInterface(TokenIdInterface):
    """A file that reads and writes code points.

    Args:
        symbols: by token id: the character, or what no single character is, among them the unknown token (id 0 if there
            is none).
        vocabulary_size: of the model.
    """

    def __init__(self, symbols: Sequence[str], vocabulary_size: int):
        known = {i: ord(symbol) for i, symbol in enumerate(symbols) if len(symbol) == 1}
        self._codes = np.full(max(vocabulary_size, len(symbols)), REPLACEMENT)
        self._codes[list(known)] = list(known.values())
        self._token_of = {code: token for token, code in known.items()}
        self._unknown = symbols.index(UNKNOWN) if UNKNOWN in symbols else 0
        self._read = self._codes.copy()
        self._read[self._unknown] = next(code for code in range(1, 0x110000) if code not in self._token_of)
        self.readable = [self._unknown, *(token for token, code in known.items() if code)]

    def in_token_ids(self, run: Run, inputs: Sequence[TensorSpec]) -> Run:
        """Feeds code points; padding of a source stays 0, the unknown token becomes one that is of no token."""

        def run_on_tokens(feeds: Mapping[str, np.ndarray]) -> dict[str, Any]:
            coded = {}
            for name in texts(inputs):
                padding = self._read[0] if name == "prompt" else 0
                coded[name] = np.where(feeds[name] == 0, padding, self._read[feeds[name]]).astype("int32")
            outputs = dict(run({**feeds, **coded}))
            outputs["tokens"] = self._tokens_of(np.asarray(outputs["tokens"]))
            return outputs

        return run_on_tokens

    def round_trip(self, tokens: np.ndarray) -> np.ndarray:
        return self._tokens_of(self._codes[tokens])

    def _tokens_of(self, codes):
        found = [self._token_of.get(code, self._unknown if code else 0) for code in codes.ravel().tolist()]
        return np.asarray(found, "int32").reshape(codes.shape)


def token_interface(tokenizer: Mapping[str, Any] | None, vocabulary_size: int) -> TokenIdInterface:
    """The interface of a file whose manifest has this tokenizer."""
    if tokenizer is not None and tokenizer.get("kind") == "code_points":
        return CodePointInterface(tokenizer["symbols"], vocabulary_size)
    return TokenIdInterface()
