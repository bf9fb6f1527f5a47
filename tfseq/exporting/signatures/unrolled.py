"""Recurrent layers that unroll, in graphs: as loops, which take any length and give the same."""

import functools
from typing import Any
from unittest import mock

from keras import layers, ops

_CALL = layers.RNN.call


@functools.wraps(_CALL)
def rnn_call(self: Any, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
    """Keras' RNN.call, which refuses to unroll over a length that is not known.

    Unrolled backwards, Keras puts zeros by the mask in the order of the sequence into outputs in the order of steps.
    """
    zeroed = self.unroll and self.go_backwards and self.zero_output_for_mask and mask is not None
    looped = self.unroll and (zeroed or sequences.shape[1] is None)
    with (
        mock.patch.object(self, "unroll", self.unroll and not looped),
        mock.patch.object(self, "zero_output_for_mask", self.zero_output_for_mask and not zeroed),
    ):
        outputs = _CALL(self, sequences, initial_state=initial_state, mask=mask, training=training)
    if not zeroed:
        return outputs
    y, *states = outputs if self.return_state else (outputs,)
    kept = ops.cast(mask if self.return_sequences else mask[:, 0], "bool")
    y = ops.where(ops.reshape(kept, (*ops.shape(kept), *[1] * (len(y.shape) - len(kept.shape)))), y, 0)
    return (y, *states) if self.return_state else y
