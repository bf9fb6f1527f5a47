"""Greedy decoding: the most likely token at every step."""

from dataclasses import dataclass

from keras import ops

from tfseq.decoding.context import Choice
from tfseq.decoding.strategy import Strategy


@dataclass(frozen=True)
class Greedy(Strategy):
    """Chooses the most likely token at each step, the lowest id of several equally likely ones.

    Args:
        min_length, repetition_penalty, forbidden, rules: see `Strategy`.

    Raises:
        InputError: a value is out of range.
    """

    def choose(self, context):
        logits = context.logits
        best, tokens = ops.top_k(logits, 1)  # Keras' argmax on TensorFlow looks at the sign of zeros; ONNX can't
        log_probs = -ops.log(ops.sum(ops.exp(logits - best), axis=-1))  # of the best, whose own summand is 1
        return Choice(ops.reshape(tokens, (-1,)), log_probs)
