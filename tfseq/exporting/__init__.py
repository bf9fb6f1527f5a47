"""Keras -> ONNX and SavedModel, with the proof that both give what the model gives."""

from tfseq.exporting.conversion.float32_copy import as_float32
from tfseq.exporting.export import export
from tfseq.exporting.proving.parity import verify
from tfseq.exporting.proving.report import ParityReport
from tfseq.exporting.smaller.quantize import quantize

__all__ = ["ParityReport", "as_float32", "export", "quantize", "verify"]
