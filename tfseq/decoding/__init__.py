"""Decoding written once, in `keras.ops`, over the `Generator` protocol: in Keras, in SavedModel and in ONNX."""

from tfseq.decoding.generate import generate
from tfseq.decoding.sample import Sample

__all__ = ["Sample", "generate"]
