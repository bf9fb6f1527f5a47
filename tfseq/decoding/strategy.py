"""`Strategy`, the base class of decoding strategies: run-time settings, and logits rules such as forbidden tokens."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from keras import ops

from tfseq.errors import InputError
from tfseq.layers import loops
from tfseq.models.generator import Generator

Sampler = Callable[[Any, Any], tuple[Any, Any]]


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """How the next tokens are chosen: `Greedy`, `Sample` or `Beam`. Their fields are the defaults of run-time settings.

    Args:
        min_length: tokens before the end token may come.
        repetition_penalty: divides the positive and multiplies the negative logits of all tokens that the row has read
            or chosen (Keskar et al., 2019, "CTRL", section 4.1); 1 leaves them as they are.
        forbidden: ids of tokens that are never chosen.

    Raises:
        InputError: a value is out of range.
    """

    min_length: int = 0
    repetition_penalty: float = 1.0
    forbidden: tuple[int, ...] = ()

    NAME: ClassVar[str]
    OWN_DTYPES: ClassVar[dict[str, str]] = {}  # settings that only this strategy has

    def __post_init__(self):
        require_integer("min_length", self.min_length, 0)
        if not is_number(self.repetition_penalty) or not 0 < self.repetition_penalty < math.inf:
            raise InputError(f"repetition_penalty is {self.repetition_penalty!r}; expected a number above 0 (1: none).")
        forbidden = tuple(self.forbidden) if isinstance(self.forbidden, Iterable) else (self.forbidden,)
        for token in forbidden:
            require_integer("a forbidden token", token, 0)
        forbidden = tuple(sorted({int(token) for token in forbidden}))
        object.__setattr__(self, "forbidden", forbidden)

    def dtypes(self, model: Generator) -> dict[str, str]:
        """The run-time settings that decoding `model` reads besides `max_length`: name -> dtype, in order."""
        return {
            **({"min_length": "int32"} if model.ends else {}),
            **self.OWN_DTYPES,
            **({"repetition_penalty": "float32"} if self.repetition_penalty != 1 else {}),
        }

    @property
    def settings(self) -> dict[str, float | int]:
        """Every run-time setting by name, as it is by default; a model reads those that `dtypes` names."""
        return {name: getattr(self, name) for name in ("min_length", *self.OWN_DTYPES, "repetition_penalty")}

    @property
    def fixed(self) -> tuple:
        """What of the strategy a traced loop holds; all else is read at run time."""
        return type(self), self.forbidden, self.repetition_penalty != 1

    def sampler(self, settings: Mapping[str, Any], batch_size: Any, vocabulary_size: int, positions: Any) -> Sampler:
        """The sampler of a loop; what is the same at all steps is computed here, outside of the loop.

        Args:
            settings: name -> scalar tensor.
            batch_size: () int32.
            vocabulary_size: number of tokens in the vocabulary.
            positions: of the new tokens in their sequences, (time,) int32.

        Returns:
            a function of the step (an index of `positions`, () int32) and logits after the rules, (batch, vocabulary)
            float32; it returns tokens (batch,) int32, and their log-probabilities under the logits, (batch,) float32.
        """
        raise TypeError(f"{type(self).__name__} does not choose token by token.")

    def first_rules_state(self, model: Generator, rows: Any, read: Any = None):
        """The rules' state before the first token: which tokens came so far, (rows, vocabulary) bool; () if unused.

        Args:
            rows: () int32.
            read: tokens that the rows have read at once, (rows, time) int32; None if none.
        """
        if self.repetition_penalty == 1:
            return ()
        came = ops.zeros((rows, model.vocabulary_size), "bool")
        return came if read is None else self.note_read(came, read)

    def note_read(self, rules_state: Any, tokens: Any):
        """The rules' state after tokens that were read at once, (rows, time) int32."""
        if self.repetition_penalty == 1:
            return rules_state
        rows, vocabulary = ops.shape(tokens)[0], rules_state.shape[1]
        starts = ops.expand_dims(ops.arange(rows, dtype="int32") * vocabulary, 1)
        places = ops.reshape(starts + tokens, (-1, 1))  # in rows * vocabulary
        came = ops.zeros((rows * vocabulary,), "int32")
        came = ops.scatter_update(came, places, ops.ones_like(places[:, 0]))
        return ops.logical_or(rules_state, ops.reshape(came, (-1, vocabulary)) > 0)

    def apply_rules(self, model: Generator, logits, tokens, index, rules_state, settings):
        """Logits as the rules leave them.

        Args:
            logits: of the model after it read `tokens`, (rows, vocabulary) float32.
            tokens: (rows,) int32.
            index: new tokens so far, () or (rows,) int32.
            rules_state: as `first_rules_state` or the last call returned it.
            settings: name -> scalar tensor.

        Returns:
            logits (rows, vocabulary) float32, -inf where a token must not come, and the rules' new state.
        """
        ids = np.arange(model.vocabulary_size, dtype="int32")
        if self.repetition_penalty != 1:
            penalty = settings["repetition_penalty"]
            rules_state = ops.logical_or(rules_state, ops.equal(ops.expand_dims(tokens, 1), ids))
            penalized = ops.where(logits > 0, logits / penalty, logits * penalty)
            logits = ops.where(rules_state, penalized, logits)
        barred = np.where(np.isin(ids, self.forbidden), -np.inf, 0).astype("float32")
        if model.ends:
            rows = np.stack([barred, np.where(np.isin(ids, model.ends), np.float32(-np.inf), barred)])
            early = ops.cast(index < settings["min_length"], "int32")
            logits += loops.take_rows(ops.convert_to_tensor(rows), early)  # quicker than choosing token by token
        elif self.forbidden:
            logits += barred
        return logits, rules_state


def require_integer(name: str, value: object, lowest: int) -> None:
    if not is_integer(value) or not lowest <= value < 2**31:  # type: ignore[operator]
        raise InputError(f"{name} is {value!r}; expected an integer of at least {lowest}.")


def is_integer(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
