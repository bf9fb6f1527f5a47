"""Fitting sequence models: truncated BPTT, schedules, exact resume, learning curves."""

from tfseq.training.evaluation import bits, evaluate
from tfseq.training.fitting import TrainingSettings, fit
from tfseq.training.scheduled_sampling import ScheduledSampling
from tfseq.training.threads import one_stream_per_core
from tfseq.training.truncated_bptt import TruncatedBPTT

__all__ = ["ScheduledSampling", "TrainingSettings", "TruncatedBPTT", "bits", "evaluate", "fit", "one_stream_per_core"]
