"""KerasHub's models for `tfseq.export`: CausalLM and Seq2SeqLM as Generators, tasks that take text or pictures, tokenizers."""

from tfseq.hub.adapted import Adapted, adapted, is_task

__all__ = ["Adapted", "adapted", "is_task"]
