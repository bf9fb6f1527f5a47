"""`Traced`: a function of named tensors as TensorFlow's graph of any sizes, made when it is first asked for."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any
from unittest import mock

import tensorflow as tf
from keras import layers
from keras.src.backend.tensorflow import core as keras_core

from tfseq.exporting.signatures.time_distributed import time_distributed_call
from tfseq.exporting.signatures.unrolled import rnn_call
from tfseq.layers.loops import associative_scan
from tfseq.runtime.manifest import TensorSpec


class Traced:
    """A function of named tensors as a graph: one for all who look at it or run it.

    Args:
        function: takes the inputs by name.
        inputs: with names for free axes.

    Attributes:
        seconds: that tracing took; 0.0 before.
    """

    def __init__(self, function: Callable, inputs: Sequence[TensorSpec]):
        self._function, self._inputs = function, tuple(inputs)
        self.seconds = 0.0

    @property
    def concrete(self) -> Any:
        """The concrete function, of the inputs in order.

        Raises:
            Exception: what the function raised on symbolic tensors.
        """
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    @property
    def if_possible(self) -> Any:
        """`concrete`, or None of a function that can't be traced."""
        return _or_none(self._outcome)

    def of_sizes(self, sizes: Mapping[str, int]) -> Any:
        """A concrete function of these sizes of free axes, which the function knows while it is traced, as it does
        in eager runs; None if it can't be traced, of any sizes or of these."""
        return None if self.if_possible is None else _or_none(self._trace(sizes))

    @cached_property
    def _outcome(self) -> Any:
        start = time.process_time()
        outcome = self._trace({})
        self.seconds = time.process_time() - start
        return outcome

    def _trace(self, sizes: Mapping[str, int]) -> Any:
        """The concrete function, or the exception that tracing ended in."""
        specs = [
            tf.TensorSpec([sizes.get(size) if isinstance(size, str) else size for size in spec.shape], spec.dtype)
            for spec in self._inputs
        ]

        def positional(*tensors: Any) -> Any:
            return self._function(**{spec.name: tensor for spec, tensor in zip(self._inputs, tensors)})

        try:
            with (
                tf.device("/cpu:0"),
                mock.patch.object(layers.TimeDistributed, "call", time_distributed_call),
                mock.patch.object(layers.RNN, "call", rnn_call),
                mock.patch.object(keras_core, "associative_scan", associative_scan),
            ):
                return tf.function(positional, autograph=False).get_concrete_function(*specs)
        except Exception as error:
            return error


def _or_none(outcome: Any) -> Any:
    return None if isinstance(outcome, Exception) else outcome
