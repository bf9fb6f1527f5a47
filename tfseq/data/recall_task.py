"""Associative recall: a synthetic task that tests memory, with key-value notes among distractors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfseq.data.dataset import Part
from tfseq.errors import DataError


@dataclass(frozen=True)
class Recall:
    """Associative recall: a note states the value of a key; at the end every key is asked for.

    A sequence has one note per key, each at a position of its own anywhere before the questions, in any order. All
    other positions are distractors, drawn at random from tokens without meaning. The last `keys` tokens are questions,
    one per key, in any order. A note is one token, which stands for a key and a value, so that attending to it finds
    both. Values are drawn independently: a model that has forgotten a note answers rightly with probability 1 / values,
    whatever else it knows.

    Token ids count from 0: the `values` answers, which are never read; `distractors`; notes, by key, then by value;
    questions, by key.

    Attributes:
        keys: notes, and questions, of a sequence.
        values: that a note can state.
        distractors: number of tokens without meaning.

    Raises:
        DataError: an attribute is less than 1, or there is only one value.
    """

    keys: int = 4
    values: int = 8
    distractors: int = 16

    def __post_init__(self):
        if min(self.keys, self.values - 1, self.distractors) < 1:
            raise DataError(
                f"keys is {self.keys}, values {self.values} and distractors {self.distractors}; expected at least 1 "
                "key, 2 values and 1 distractor."
            )

    @property
    def vocabulary(self) -> int:
        """Vocabulary size."""
        return self.first_question + self.keys

    @property
    def first_note(self) -> int:
        return self.values + self.distractors

    @property
    def first_question(self) -> int:
        return self.first_note + self.keys * self.values

    @property
    def chance(self) -> float:
        """Share of right answers without any memory."""
        return 1 / self.values

    def sequences(self, count: int, length: int, seed: int | Sequence[int] = 0) -> Part:
        """Draws sequences.

        Args:
            count: of sequences.
            length: tokens of each, questions included.
            seed: of the draws.

        Returns:
            inputs (count, length) int32, and targets (count, keys) int32: the answers to the last `keys` tokens.

        Raises:
            DataError: there is no room for a note and a question per key.
        """
        if length < 2 * self.keys or count < 1:
            raise DataError(
                f"length is {length} and count {count}; expected at least 1 sequence of at least {2 * self.keys} "
                f"tokens: {self.keys} notes and as many questions."
            )
        draw = np.random.default_rng(seed)
        before = length - self.keys  # places that are no questions
        body = draw.integers(self.values, self.first_note, (count, before), np.int32)
        places = draw.random((count, before), np.float32).argpartition(self.keys - 1)[:, : self.keys]
        places = draw.permuted(places, axis=1)  # argpartition says nothing of their order
        values = draw.integers(self.values, size=(count, self.keys), dtype=np.int32)
        notes = self.first_note + self.values * np.arange(self.keys, dtype=np.int32) + values
        np.put_along_axis(body, places, notes, axis=1)
        asked = draw.permuted(np.tile(np.arange(self.keys, dtype=np.int32), (count, 1)), axis=1)
        inputs = np.concatenate([body, self.first_question + asked], axis=1)
        return Part(inputs, np.take_along_axis(values, asked, axis=1))
