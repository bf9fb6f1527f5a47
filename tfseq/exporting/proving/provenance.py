"""Provenance of an exported file: versions, a hash of the weights (which have to be finite), data, date."""

import contextlib
import hashlib
import math
import os
import platform
from datetime import UTC, datetime
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx

import tfseq
from tfseq.errors import ExportError
from tfseq.exporting.conversion.float32_copy import precision
from tfseq.exporting.conversion.freezing import values
from tfseq.exporting.proving.elsewhere import elsewhere


def provenance(model: keras.Model, data: Any = None) -> dict[str, Any]:
    """The manifest's record of the model and of what exported it.

    Args:
        model: as it was trained.
        data: what the caller knows about the training data, JSON-able.
    """
    original = elsewhere()
    return {
        "tfseq": tfseq.__version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend() if original is None else original.backend,
        "tensorflow": tf.__version__,
        "tf2onnx": tf2onnx.__version__,
        "onnx": onnx.__version__,
        "python": platform.python_version(),
        "model": f"{type(model).__module__}.{type(model).__qualname__}",
        "parameters": sum(math.prod(weight.shape) for weight in model.weights),
        "weights_sha256": weights_sha256(model),
        "trained_in": precision(model),
        "data": data,
        "created": _date(),
    }


def reproducible() -> bool:
    """Whether SOURCE_DATE_EPOCH asks for a file that is the same, byte for byte, whenever it is made."""
    return bool(os.environ.get("SOURCE_DATE_EPOCH"))


def _date() -> str:
    """Now, or SOURCE_DATE_EPOCH, as reproducible builds have it."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        date = datetime.now(UTC) if not given else datetime.fromtimestamp(int(given), UTC)
    except (ValueError, OverflowError, OSError):
        raise ExportError(f"SOURCE_DATE_EPOCH is {given!r}; expected seconds since 1970, a whole number.") from None
    return date.isoformat(timespec="seconds")


def weights_sha256(model: keras.Model) -> str:
    """One hash over types, shapes and values, in the model's order."""
    digest = hashlib.sha256()
    for weight in model.weights:
        array = values(weight.value)
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view("uint8").data)
    return digest.hexdigest()


def require_finite_weights(model: keras.Model) -> None:
    """Refuses what a diverged training leaves behind, and constants that a layer makes of arguments it can't work with.

    Raises:
        ExportError: a weight holds NaN or infinity.
    """
    for weight in model.weights:
        array = values(weight.value)
        if np.issubdtype(array.dtype, np.inexact) and not np.isfinite(array).all():
            raise ExportError(f"The weight {weight.path} holds NaN or infinity; {_why_not_finite(model, weight)}")


def _why_not_finite(model: keras.Model, weight: keras.Variable) -> str:
    for layer in model._flatten_layers(include_self=False):
        place = next((i for i, own in enumerate(layer.weights) if own is weight), None)
        if place is not None and _begins_not_finite(layer, place):
            return f"the layer {layer.name} ({type(layer).__name__}) makes it so of its arguments. Give it others."
    return "training diverged. Export an earlier checkpoint."


def _begins_not_finite(layer: keras.Layer, place: int) -> bool:
    """Whether a layer of the same arguments has NaN or infinity in that weight before any training."""
    with contextlib.suppress(Exception):
        fresh = type(layer).from_config(layer.get_config())
        fresh.build_from_config(layer.get_build_config())
        return not np.isfinite(values(fresh.weights[place].value)).all()
    return False
