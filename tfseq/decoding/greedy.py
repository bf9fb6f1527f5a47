"""Greedy decoding: the most likely token at every step."""

from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from tfseq.decoding.strategy import Strategy


@dataclass(frozen=True)
class Greedy(Strategy):
    """Chooses the most likely token at each step, the lowest id of several equally likely ones.

    Args:
        min_length, repetition_penalty, forbidden: see `Strategy`.

    Raises:
        InputError: a value is out of range.
    """

    NAME: ClassVar[str] = "greedy"

    def sampler(self, settings, batch_size, vocabulary_size, positions):
        def choose(step, logits):
            best, tokens = ops.top_k(logits, 1)  # Keras' argmax on TensorFlow looks at the sign of zeros; ONNX can't
            log_probs = -ops.log(ops.sum(ops.exp(logits - best), axis=-1))  # of the best, whose own summand is 1
            return ops.reshape(tokens, (-1,)), log_probs

        return choose
