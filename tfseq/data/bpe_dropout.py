"""Texts cut into subwords at random: a regularizer of translators that learn from few texts."""

import json
from itertools import pairwise

import numpy as np

from tfseq.errors import DataError
from tfseq.runtime.tokenizers import SubwordTokenizer


class BPEDropout:
    """Encodes as a tokenizer does, but leaves out each merge with some probability (Provilkov et al., 2020).

    A rare word is then met in pieces that it shares with others, and a model becomes robust to how words are cut. The
    tokens still spell the text. Each distinct word is cut once and kept, so that a text takes no longer than its words;
    another seed cuts them anew.

    Args:
        tokenizer: byte-pair encoding, such as `subword_tokenizer` returns.
        rate: probability of leaving out a merge each time it could be made; 0 gives the tokenizer's own tokens.
        seed: of the draws.

    Raises:
        DataError: `rate` is out of range, or the tokenizer has no merges.
    """

    def __init__(self, tokenizer: SubwordTokenizer, rate: float = 0.1, seed: int = 0):
        from tokenizers import Tokenizer

        if not 0 <= rate < 1:
            raise DataError(f"rate is {rate}; expected a probability from 0 to below 1.")
        description = tokenizer.to_json()["json"]
        model = json.loads(description)["model"]
        if model["type"] != "BPE":
            raise DataError(
                f"The tokenizer is of the type {model['type']}; expected BPE, as subword_tokenizer makes it."
            )
        self._words_of = Tokenizer.from_str(description).pre_tokenizer.pre_tokenize_str
        self._tokens: dict[str, int] = model["vocab"]
        self._ranks = {tuple(pair): rank for rank, pair in enumerate(model["merges"])}
        self._rate = rate
        self._draw = np.random.default_rng(seed)
        self._cut: dict[str, list[int]] = {}

    def encode(self, text: str) -> np.ndarray:
        """The token ids of `text`, (time,) int32."""
        return np.array([token for word, _ in self._words_of(text) for token in self._encode_word(word)], np.int32)

    def _encode_word(self, word: str) -> list[int]:
        if word not in self._cut:
            self._cut[word] = [self._tokens[piece] for piece in self._pieces(word)]
        return self._cut[word]

    def _pieces(self, word: str) -> list[str]:
        pieces = list(word)
        while len(pieces) > 1:
            kept = self._draw.random(len(pieces) - 1) >= self._rate
            merges = [
                (self._ranks[pair], place)
                for place, pair in enumerate(pairwise(pieces))
                if kept[place] and pair in self._ranks
            ]
            if not merges:
                break
            _, place = min(merges)
            pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
        return pieces
