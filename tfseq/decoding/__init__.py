"""Decoding strategies (greedy, sampling, beam search) over the `Generator` protocol, and the generation loop.

Written once, in `keras.ops`, for Keras, SavedModel and ONNX.
"""

from tfseq.decoding.beam import Beam
from tfseq.decoding.generate import Generated, generate
from tfseq.decoding.greedy import Greedy
from tfseq.decoding.loop import decode, decode_step
from tfseq.decoding.sample import Sample
from tfseq.decoding.strategy import Strategy

__all__ = ["Beam", "Generated", "Greedy", "Sample", "Strategy", "decode", "decode_step", "generate"]
