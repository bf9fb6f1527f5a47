"""Cross-entropy of language models on held-out text, in nats or bits per token."""

import math
from collections.abc import Iterable

import keras

from tfseq.training.truncated_bptt import TruncatedBPTT


def evaluate(model: keras.Model, validation: Iterable, batch: int) -> float:
    """Mean cross-entropy of a language model in nats per token, with the state carried through each stream.

    Args:
        model: with `initial_state` and `read`, such as RecurrentLanguageModel.
        validation: one pass over the text, as `tfseq.data.evaluation_stream` gives it.
        batch: number of its streams.
    """
    evaluator = TruncatedBPTT(model, batch)
    evaluator.compile(loss=token_loss(), weighted_metrics=[nats_per_token()], jit_compile=False)
    return float(evaluator.evaluate(validation, verbose=0, return_dict=True)["nats"])


def evaluate_blocks(model: keras.Model, validation: Iterable) -> float:
    """Mean cross-entropy of a language model that reads each block of a text on its own, in nats per token.

    Args:
        model: from tokens to logits, such as TransformerLanguageModel.
        validation: one pass over the text, as `tfseq.data.sliding_blocks` gives it.
    """
    evaluator = keras.Sequential([model])  # what is compiled, so that the model keeps the optimizer it has, or none
    evaluator.compile(loss=token_loss(), weighted_metrics=[nats_per_token()], jit_compile=False)
    return float(evaluator.evaluate(validation, verbose=0, return_dict=True)["nats"])


def token_loss() -> keras.losses.Loss:
    """Cross-entropy of logits with the tokens that came, averaged where weights are not 0."""
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="mean_with_sample_weight")


def nats_per_token() -> keras.metrics.Metric:
    """The same, exact over batches whose weights differ in number; to be given as a weighted metric."""
    return keras.metrics.SparseCategoricalCrossentropy(from_logits=True, name="nats")


def bits(nats: float) -> float:
    """Nats in bits."""
    return nats / math.log(2)
