"""`NoRepeatNGram`, a rule: no sequence of n tokens comes twice in a row of the batch."""

from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from tfseq.decoding.rule import Rule
from tfseq.decoding.settings import require_integer


@dataclass(frozen=True)
class NoRepeatNGram(Rule):
    """Bars each token that would complete `size` tokens which the row has read or written before (Paulus et al., 2018).

    Where that would leave no token at all, nothing is barred.

    Args:
        size: tokens of a sequence that does not come twice, at least 1. It is fixed in an exported graph.

    Raises:
        InputError: `size` is no integer of at least 1.
    """

    size: int = 3

    NAME: ClassVar[str] = "no_repeat_ngram"
    sees_history: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        require_integer("size", self.size, 1)

    def apply(self, context, state):
        """The history has the last token first: what followed on entry i is entry i - 1."""
        logits, n = context.logits, self.size
        rows, vocabulary = ops.shape(logits)[0], logits.shape[1]
        nothing = ops.full((rows, n), -1, "int32")
        padded = ops.concatenate([context.history, nothing], axis=1)  # (rows, time + n)
        time = ops.shape(context.history)[1]
        followed = padded[:, :time]  # (rows, time), on entries 1 to time
        again = followed >= 0
        for back in range(n - 1):  # whether the n - 1 tokens up to an entry are the last n - 1
            again = ops.logical_and(again, ops.equal(padded[:, 1 + back : 1 + back + time], padded[:, back : back + 1]))
        starts = ops.expand_dims(ops.arange(rows, dtype="int32") * vocabulary, 1)
        places = ops.where(again, starts + followed, rows * vocabulary)  # the last place is thrown away
        places = ops.reshape(places, (-1, 1))
        barred = ops.zeros((rows * vocabulary + 1,), "int32")
        barred = ops.scatter_update(barred, places, ops.ones_like(places[:, 0]))
        barred = ops.reshape(barred[:-1], (-1, vocabulary)) > 0
        left = ops.where(barred, float("-inf"), logits)
        some_left = ops.max(left, axis=1, keepdims=True) > float("-inf")
        return ops.where(some_left, left, logits), state
