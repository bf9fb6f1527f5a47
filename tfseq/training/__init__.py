"""Fitting sequence models: truncated BPTT, examples with answers, schedules, exact resume, learning curves."""

from tfseq.training.classification import train_classifier
from tfseq.training.evaluation import bits, evaluate, evaluate_blocks, nats_per_symbol, symbol_loss
from tfseq.training.fitting import TrainingSettings, fit
from tfseq.training.scheduled_sampling import ScheduledSampling
from tfseq.training.supervised import SupervisedSettings, train
from tfseq.training.threads import one_stream_per_core
from tfseq.training.truncated_bptt import TruncatedBPTT
from tfseq.training.whole_answers import WholeAnswers

__all__ = [
    "ScheduledSampling",
    "SupervisedSettings",
    "TrainingSettings",
    "TruncatedBPTT",
    "WholeAnswers",
    "bits",
    "evaluate",
    "evaluate_blocks",
    "fit",
    "nats_per_symbol",
    "one_stream_per_core",
    "symbol_loss",
    "train",
    "train_classifier",
]
