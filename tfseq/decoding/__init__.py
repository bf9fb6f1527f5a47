"""Decoding written once, in `keras.ops`, over the `Generator` protocol: in Keras, in SavedModel and in ONNX."""

from tfseq.decoding.beam import Beam
from tfseq.decoding.generate import Generated, generate
from tfseq.decoding.greedy import Greedy
from tfseq.decoding.loop import decode, decode_step
from tfseq.decoding.sample import Sample
from tfseq.decoding.strategy import Strategy

__all__ = ["Beam", "Generated", "Greedy", "Sample", "Strategy", "decode", "decode_step", "generate"]
