"""Export of Keras models to ONNX and SavedModel, parity checks of the files, and quantization of their weights."""

from tfseq.exporting.conversion.float32_copy import as_float32
from tfseq.exporting.export import export
from tfseq.exporting.proving.parity import verify
from tfseq.exporting.proving.report import ParityReport
from tfseq.exporting.quantization.quantize import quantize

__all__ = ["ParityReport", "as_float32", "export", "quantize", "verify"]
