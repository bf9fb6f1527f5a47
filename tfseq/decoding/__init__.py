"""Decoding strategies (greedy, sampling, beam search) and rules over the `Generator` protocol, and the loop of them.

Written once, in `keras.ops`, for Keras, SavedModel and ONNX.
"""

from tfseq.decoding.automaton import Automaton
from tfseq.decoding.beam import Beam
from tfseq.decoding.context import Choice, Context
from tfseq.decoding.generate import Generated, generate
from tfseq.decoding.greedy import Greedy
from tfseq.decoding.loop import decode, decode_step
from tfseq.decoding.no_repeat import NoRepeatNGram
from tfseq.decoding.rule import Rule
from tfseq.decoding.sample import Sample
from tfseq.decoding.settings import setting
from tfseq.decoding.strategy import Strategy

__all__ = [
    "Automaton",
    "Beam",
    "Choice",
    "Context",
    "Generated",
    "Greedy",
    "NoRepeatNGram",
    "Rule",
    "Sample",
    "Strategy",
    "decode",
    "decode_step",
    "generate",
    "setting",
]
