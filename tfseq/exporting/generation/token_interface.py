"""What stands for symbols in a graph's inputs and outputs, seen from outside."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfseq.exporting.signatures.generator_inputs import texts
from tfseq.exporting.signatures.signature import Run
from tfseq.runtime.character_tokenizer import UNKNOWN
from tfseq.runtime.manifest import TensorSpec

REPLACEMENT = 0xFFFD


class Symbols:
    """Symbols stand for themselves.

    Attributes:
        readable: the symbols that inputs can hold; None for all.
    """

    readable: Sequence[int] | None = None

    def around(self, run: Run, inputs: Sequence[TensorSpec]) -> Run:
        """`run` as a function of symbols."""
        return run

    def seen(self, symbols: np.ndarray) -> np.ndarray:
        """Symbols as they come back from `around`: those that the graph can't tell apart are one."""
        return symbols


class Characters(Symbols):
    """Code points stand for symbols.

    Args:
        symbols: the characters, or what no character is, by symbol, among them the unknown one; 0 if there is none.
        vocabulary_size: of the model.
    """

    def __init__(self, symbols: Sequence[str], vocabulary_size: int):
        known = {i: ord(symbol) for i, symbol in enumerate(symbols) if len(symbol) == 1}
        self._codes = np.full(max(vocabulary_size, len(symbols)), REPLACEMENT)
        self._codes[list(known)] = list(known.values())
        self._symbol_of = {code: symbol for symbol, code in known.items()}
        self._unknown = symbols.index(UNKNOWN) if UNKNOWN in symbols else 0
        self._read = self._codes.copy()
        self._read[self._unknown] = next(code for code in range(1, 0x110000) if code not in self._symbol_of)
        self.readable = [self._unknown, *(symbol for symbol, code in known.items() if code)]

    def around(self, run: Run, inputs: Sequence[TensorSpec]) -> Run:
        """Feeds of symbols to code points; what pads a source stays, the unknown symbol is no character."""

        def run_on_symbols(feeds: Mapping[str, np.ndarray]) -> dict[str, Any]:
            coded = {}
            for name in texts(inputs):
                nothing = self._read[0] if name == "prompt" else 0
                coded[name] = np.where(feeds[name] == 0, nothing, self._read[feeds[name]]).astype("int32")
            outputs = dict(run({**feeds, **coded}))
            outputs["tokens"] = self._of_codes(np.asarray(outputs["tokens"]))
            return outputs

        return run_on_symbols

    def seen(self, symbols: np.ndarray) -> np.ndarray:
        return self._of_codes(self._codes[symbols])

    def _of_codes(self, codes):
        found = [self._symbol_of.get(code, self._unknown if code else 0) for code in codes.ravel().tolist()]
        return np.asarray(found, "int32").reshape(codes.shape)


def alphabet(tokenizer: Mapping[str, Any] | None, vocabulary_size: int) -> Symbols:
    """Of a file whose manifest has this tokenizer."""
    if tokenizer is not None and tokenizer.get("kind") == "code_points":
        return Characters(tokenizer["symbols"], vocabulary_size)
    return Symbols()
