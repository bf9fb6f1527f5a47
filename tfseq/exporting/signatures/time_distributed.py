"""Keras' TimeDistributed in graphs of any sizes, where Keras' own takes the number of sequences for that of steps."""

from typing import Any

from keras import ops


def time_distributed_call(self: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    """All steps as one batch, where Keras maps over the steps: at inference the layer treats rows alike.

    Args:
        inputs: (batch, time, ...)
        mask: (batch, time, ...) or None
    """
    options: dict[str, Any] = {}
    if self.layer._call_has_mask_arg and mask is not None:
        options["mask"] = steps_as_rows(mask)
    if self.layer._call_has_training_arg:
        options["training"] = training
    outputs = self.layer.call(steps_as_rows(inputs), **options)  # (batch * time, ...)
    batch, time = ops.shape(inputs)[:2]
    return ops.reshape(outputs, (-1 if isinstance(time, int) else batch, time, *ops.shape(outputs)[1:]))


def steps_as_rows(x: Any) -> Any:
    """(batch, time, ...) to (batch * time, ...)"""
    return ops.reshape(x, (-1, *ops.shape(x)[2:]))
