"""KerasHub's models for `tfseq.export`: CausalLM, Seq2SeqLM and speech as Generators, classifiers, tokenizers."""

from tfseq.hub.adapted import Adapted, adapted, is_task
from tfseq.hub.whisper import Whisper, whisper

__all__ = ["Adapted", "Whisper", "adapted", "is_task", "whisper"]
