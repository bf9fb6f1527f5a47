"""Runs exported ONNX files with NumPy and ONNX Runtime; nothing here ever loads TensorFlow or Keras."""

from tfseq.runtime.classification import Label
from tfseq.runtime.manifest import Manifest, TensorSpec
from tfseq.runtime.model import Model, load, stream
from tfseq.runtime.setting import Setting
from tfseq.runtime.text_generation import Generation, UnknownCharacterWarning
from tfseq.runtime.text_stream import TextStream
from tfseq.runtime.tokenizer_kinds import (
    CharacterTokenizer,
    CodePointTokenizer,
    SubwordTokenizer,
    Tokenizer,
    TokenizerPair,
    WordTokenizer,
    load_tokenizer,
    read_tokenizer,
)

__all__ = [
    "CharacterTokenizer",
    "CodePointTokenizer",
    "Generation",
    "Label",
    "Manifest",
    "Model",
    "Setting",
    "SubwordTokenizer",
    "TensorSpec",
    "TextStream",
    "Tokenizer",
    "TokenizerPair",
    "UnknownCharacterWarning",
    "WordTokenizer",
    "load",
    "load_tokenizer",
    "read_tokenizer",
    "stream",
]
