"""The precision to train in: `auto` decides once per process by what the machine multiplies fastest."""

from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Literal

import keras

from tfseq.machine import multiplies_bfloat16
from tfseq.training.checkpoint import UnreadableCheckpoint, previous_of, read_record

Precision = Literal["auto", "mixed_bfloat16", "float32"]
_RECORDED = ("float32", *(f"{mixed}{low}" for mixed in ("mixed_", "") for low in ("bfloat16", "float16")))
AMPERE = (8, 0)  # the first compute capability of NVIDIA's that multiplies bfloat16


def training_precision(wanted: str = "auto") -> str:
    """A Keras dtype policy to train in.

    Args:
        wanted: a policy, which is returned as it is; or "auto": mixed_bfloat16 where products of bfloat16 are quicker
            on this machine, else float32. Either way weights, optimizer and what is exported are float32.
    """
    return _decided()[0] if wanted == "auto" else wanted


def explained_precision(wanted: str, checkpoint: Path | None = None) -> tuple[str, str]:
    """As `training_precision`, with the reason in words.

    Args:
        wanted: a policy or "auto".
        checkpoint: of the run that is resumed, if one is: "auto" then keeps what that run has computed in, whatever
            machine it goes on on.

    Returns:
        the policy and why, such as "this CPU has no instructions for bfloat16".
    """
    if wanted != "auto":
        return wanted, "as asked"
    recorded = None if checkpoint is None else recorded_precision(checkpoint)
    return (recorded, "as the run began") if recorded else _decided()


def recorded_precision(checkpoint: Path) -> str | None:
    """The precision that a run's checkpoint says it was trained in; None if there is no checkpoint that says so."""
    for path in (checkpoint, previous_of(checkpoint)):
        with suppress(UnreadableCheckpoint):  # who restores it will say what is wrong
            precision = read_record(path).get("precision")
            return precision if precision in _RECORDED else None
    return None


def precision_of(model: keras.Model) -> str:
    """The policy of the first layer that computes in float16 or bfloat16; float32 if none does."""
    low = (layer.dtype_policy.name for layer in model._flatten_layers() if layer.compute_dtype.endswith("float16"))
    return next(low, "float32")


@cache
def _decided() -> tuple[str, str]:
    match keras.backend.backend():
        case "tensorflow":
            accelerator = _on_tensorflow()
        case "jax":
            accelerator = _on_jax()
        case _:
            accelerator = None
    if accelerator is not None:
        return accelerator
    if multiplies_bfloat16():
        return "mixed_bfloat16", "this CPU has instructions for bfloat16"
    return "float32", "this CPU has no instructions for bfloat16"


def _on_tensorflow() -> tuple[str, str] | None:
    import tensorflow as tf

    if tf.config.list_physical_devices("TPU"):
        return "mixed_bfloat16", "this is a TPU"
    gpus = tf.config.list_physical_devices("GPU")
    return of_gpu(tf.config.experimental.get_device_details(gpus[0]).get("compute_capability")) if gpus else None


def _on_jax() -> tuple[str, str] | None:
    import jax

    device = jax.devices()[0]
    if device.platform == "tpu":
        return "mixed_bfloat16", "this is a TPU"
    if device.platform not in ("gpu", "cuda"):
        return None
    capability = getattr(device, "compute_capability", None)
    return of_gpu(None if capability is None else tuple(int(part) for part in str(capability).split(".")))


def of_gpu(capability: tuple[int, ...] | None) -> tuple[str, str]:
    """The decision for a GPU of some compute capability; None for one that does not say, such as AMD's."""
    if capability is None:
        return "float32", "this GPU does not say whether it multiplies bfloat16"
    version = ".".join(map(str, capability))
    if capability >= AMPERE:
        return "mixed_bfloat16", f"this GPU (compute capability {version}) multiplies bfloat16"
    return "float32", f"this GPU (compute capability {version}) has no instructions for bfloat16"
