"""Fitting sequence models: truncated BPTT, examples with answers, schedules, exact resume, learning curves."""

from tfseq.training.classifier_training import train_classifier
from tfseq.training.cpu_threads import one_stream_per_core
from tfseq.training.exact_match import WholeAnswers
from tfseq.training.language_model_loss import bits, evaluate, evaluate_blocks, nats_per_token, token_loss
from tfseq.training.precision import Precision, training_precision
from tfseq.training.scheduled_sampling import ScheduledSampling
from tfseq.training.supervised_training import SupervisedSettings, train
from tfseq.training.text_training import TrainingSettings, fit
from tfseq.training.truncated_bptt import TruncatedBPTT

nats_per_symbol, symbol_loss = nats_per_token, token_loss  # their names in version 0.1

__all__ = [
    "Precision",
    "ScheduledSampling",
    "SupervisedSettings",
    "TrainingSettings",
    "TruncatedBPTT",
    "WholeAnswers",
    "bits",
    "evaluate",
    "evaluate_blocks",
    "fit",
    "nats_per_token",
    "one_stream_per_core",
    "token_loss",
    "train",
    "train_classifier",
    "training_precision",
]
