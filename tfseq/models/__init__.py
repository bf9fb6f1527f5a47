"""One file per family of architectures."""

from tfseq.models.generator import Generator
from tfseq.models.recurrent_language_model import RecurrentLanguageModel

__all__ = ["Generator", "RecurrentLanguageModel"]
