"""Keras models, one file per architecture: classifiers, taggers, forecasters, language models, encoder-decoders."""

from tfseq.models.attention_seq2seq import AttentionSeq2Seq
from tfseq.models.autoregressive import Autoregressive
from tfseq.models.captioner import Captioner
from tfseq.models.checking.check import check_generator
from tfseq.models.checking.findings import Finding
from tfseq.models.convolutional_classifier import ConvolutionalClassifier
from tfseq.models.delayed_answer import DelayedAnswer
from tfseq.models.dense_classifier import DenseClassifier
from tfseq.models.forecaster import Forecaster
from tfseq.models.generator import Generator
from tfseq.models.glimpse_classifier import RecurrentAttentionModel
from tfseq.models.image_namer import ImageNamer
from tfseq.models.latent_autoregressive import LatentAutoregressive
from tfseq.models.recurrent_classifier import RecurrentClassifier
from tfseq.models.recurrent_language_model import RecurrentLanguageModel
from tfseq.models.recurrent_tagger import RecurrentTagger
from tfseq.models.seq2seq import Seq2Seq
from tfseq.models.state_space_language_model import StateSpaceLanguageModel
from tfseq.models.transformer import Transformer
from tfseq.models.transformer_classifier import TransformerClassifier
from tfseq.models.transformer_language_model import TransformerLanguageModel
from tfseq.models.vision_transformer import VisionTransformer
from tfseq.models.wrapping.as_generator import as_generator

__all__ = [
    "AttentionSeq2Seq",
    "Autoregressive",
    "Captioner",
    "ConvolutionalClassifier",
    "DelayedAnswer",
    "DenseClassifier",
    "Finding",
    "Forecaster",
    "Generator",
    "ImageNamer",
    "LatentAutoregressive",
    "RecurrentAttentionModel",
    "RecurrentClassifier",
    "RecurrentLanguageModel",
    "RecurrentTagger",
    "Seq2Seq",
    "StateSpaceLanguageModel",
    "Transformer",
    "TransformerClassifier",
    "TransformerLanguageModel",
    "VisionTransformer",
    "as_generator",
    "check_generator",
]
