"""Differences between the versions of Keras: what an older one lacks is made here, left alone, or refused by name."""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any
from unittest import mock

import keras
from keras import ops

from tfseq.errors import InputError

INSTALLED = tuple(int(number) for number in keras.__version__.split(".")[:2])
_NEWEST = 3, 15  # which has all that is patched
MASKED_QUERIES_GET_ZEROS = INSTALLED >= (3, 9)  # of attention layers, where all keys are masked; the mean before


@contextlib.contextmanager
def patched(patches: Iterable[tuple[Any, str, Any]]) -> Iterator[None]:
    """Within, attributes have other values; a function that an older Keras lacks needs none.

    Args:
        patches: each a module or class, an attribute's name and its value.
    """
    with contextlib.ExitStack() as stack:
        for owner, name, value in patches:
            if hasattr(owner, name) or INSTALLED >= _NEWEST:
                stack.enter_context(mock.patch.object(owner, name, value))
        yield


def function_of(owner: Any, name: str) -> Any:
    """A function of Keras' that is patched; None where an older Keras lacks it."""
    return getattr(owner, name) if INSTALLED >= _NEWEST else getattr(owner, name, None)


class _ReversibleEmbedding(keras.layers.Embedding):
    """The part of Keras' ReversibleEmbedding (since 3.12) that our models use.

    Call arguments:
        inputs: token ids (..); with `reverse`, states (.., output_dim).
        reverse: turns states into logits (.., input_dim), by a table of their own unless `tie_weights`.
    """

    def __init__(self, input_dim, output_dim, tie_weights=True, **kwargs):
        super().__init__(input_dim, output_dim, **kwargs)
        self.tie_weights = tie_weights

    def build(self, input_shape=None):
        super().build(input_shape)
        if not self.tie_weights:
            shape = self.output_dim, self.input_dim
            self.reverse_embeddings = self.add_weight(shape, self.embeddings_initializer, name="reverse_embeddings")

    def call(self, inputs, reverse=False):
        if not reverse:
            return super().call(inputs)
        return ops.matmul(inputs, ops.transpose(self.embeddings) if self.tie_weights else self.reverse_embeddings)

    def compute_output_spec(self, inputs, reverse=False):
        shape = (*inputs.shape[:-1], self.input_dim) if reverse else (*inputs.shape, self.output_dim)
        return keras.KerasTensor(shape, dtype=self.compute_dtype)

    def get_config(self):
        return super().get_config() | {"tie_weights": self.tie_weights}


class _RMSNormalization(keras.layers.Layer):
    """The part of Keras' RMSNormalization (since 3.9) that our models use: x / sqrt(mean(x^2) + epsilon) * scale."""

    def __init__(self, epsilon=1e-6, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        self.scale = self.add_weight((input_shape[-1],), "ones", name="scale")

    def call(self, x):
        exact = ops.cast(x, "float32")
        inverse = ops.rsqrt(ops.mean(ops.square(exact), axis=-1, keepdims=True) + self.epsilon)
        return ops.cast(exact * inverse * ops.cast(self.scale, "float32"), x.dtype)

    def get_config(self):
        return super().get_config() | {"epsilon": self.epsilon}


class _NoMuon(keras.optimizers.Optimizer):
    def __init__(self, *args: Any, **kwargs: Any):
        raise InputError(f"The optimizer muon needs Keras 3.10; this is {keras.__version__}: update it, or use adamw.")


ReversibleEmbedding = getattr(keras.layers, "ReversibleEmbedding", _ReversibleEmbedding)
RMSNormalization = getattr(keras.layers, "RMSNormalization", _RMSNormalization)
Muon = getattr(keras.optimizers, "Muon", _NoMuon)
