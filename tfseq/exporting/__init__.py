"""Export of Keras models to ONNX and SavedModel, parity checks of the files, and quantization of their weights."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import keras

from tfseq.exporting.conversion.float32_copy import as_float32
from tfseq.exporting.export import export, verify
from tfseq.exporting.proving.report import ParityReport

if TYPE_CHECKING:
    from tfseq.exporting.quantization.quantize import quantize

if keras.backend.backend() == "tensorflow":
    import_module("tfseq.exporting.verified_file")  # loads TensorFlow, which other backends leave to another process

__all__ = ["ParityReport", "as_float32", "export", "quantize", "verify"]


def __getattr__(name: str) -> Any:
    if name == "quantize":
        return import_module("tfseq.exporting.quantization.quantize").quantize
    raise AttributeError(f"module 'tfseq.exporting' has no attribute {name!r}")
