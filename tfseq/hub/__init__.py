"""KerasHub's models for `tfseq.export`: CausalLM and Seq2SeqLM as Generators, classifiers of texts, tokenizers."""

from tfseq.hub.adapted import Adapted, adapted, is_task

__all__ = ["Adapted", "adapted", "is_task"]
