"""Loads and runs exported files with NumPy and ONNX Runtime; nothing here ever loads TensorFlow or Keras."""

from tfseq.runtime.manifest import Manifest, TensorSpec
from tfseq.runtime.model import Model, UnknownCharacterWarning, load
from tfseq.runtime.tokenizers import CharacterTokenizer, load_tokenizer

__all__ = ["CharacterTokenizer", "Manifest", "Model", "TensorSpec", "UnknownCharacterWarning", "load", "load_tokenizer"]
