"""Provenance of an exported file: versions, a hash of the weights (which have to be finite), data, date."""

import hashlib
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


def provenance(model: keras.Model, data: Any = None) -> dict[str, Any]:
    """The manifest's record of the model and of what exported it.

    Args:
        model: as it was trained.
        data: what the caller knows about the training data, JSON-able.
    """
    weights = [keras.ops.convert_to_numpy(weight) for weight in model.weights]
    return {
        "tfseq": tfseq.__version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "tf2onnx": tf2onnx.__version__,
        "onnx": onnx.__version__,
        "python": platform.python_version(),
        "model": f"{type(model).__module__}.{type(model).__qualname__}",
        "parameters": int(sum(weight.size for weight in weights)),
        "weights_sha256": weights_sha256(weights),
        "trained_in": precision(model),
        "data": data,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def weights_sha256(weights: list[np.ndarray]) -> str:
    """One hash over types, shapes and values, in the model's order."""
    digest = hashlib.sha256()
    for weight in weights:
        digest.update(f"{weight.dtype}{weight.shape}".encode())
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def require_finite_weights(model: keras.Model) -> None:
    """Refuses what a diverged training leaves behind.

    Raises:
        ExportError: a weight holds NaN or infinity.
    """
    for weight in model.weights:
        values = keras.ops.convert_to_numpy(weight)
        if np.issubdtype(values.dtype, np.inexact) and not np.isfinite(values).all():
            raise ExportError(
                f"The weight {weight.path} holds NaN or infinity; training diverged. Export an earlier checkpoint."
            )
