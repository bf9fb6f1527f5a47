"""One file per family of architectures."""

from tfseq.models.attention_seq2seq import AttentionSeq2Seq
from tfseq.models.delayed_answer import DelayedAnswer
from tfseq.models.generator import Generator
from tfseq.models.recurrent_classifier import RecurrentClassifier
from tfseq.models.recurrent_language_model import RecurrentLanguageModel
from tfseq.models.recurrent_tagger import RecurrentTagger
from tfseq.models.transformer import Transformer
from tfseq.models.transformer_language_model import TransformerLanguageModel

__all__ = [
    "AttentionSeq2Seq",
    "DelayedAnswer",
    "Generator",
    "RecurrentClassifier",
    "RecurrentLanguageModel",
    "RecurrentTagger",
    "Transformer",
    "TransformerLanguageModel",
]
