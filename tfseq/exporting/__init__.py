"""Keras -> ONNX and SavedModel, with the proof that both give what the model gives."""

from tfseq.exporting.export import export
from tfseq.exporting.parity import verify
from tfseq.exporting.quantize import quantize
from tfseq.exporting.report import ParityReport

__all__ = ["ParityReport", "export", "quantize", "verify"]
