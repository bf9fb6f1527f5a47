"""`EncoderDecoder`, KerasHub's Seq2SeqLM as a `Generator`: its own `call_encoder` and `call_decoder_with_cache`."""

import inspect
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfseq.hub.cached_decoder import CachedDecoder
from tfseq.hub.causal_lm import last_logits, refusals
from tfseq.hub.key_value_views import PackedCache
from tfseq.hub.task_settings import input_names, positions_of, refused, without_preprocessor

_READ = {"encoder_token_ids", "encoder_padding_mask", "decoder_token_ids", "decoder_padding_mask"}
_SOURCE = keras.InputSpec(shape=(None, None), dtype="int32", name="source")


@keras.saving.register_keras_serializable(package="tfseq")
class EncoderDecoder(CachedDecoder):
    """KerasHub's Seq2SeqLM, of any family whose decoder takes `self_attention_cache` and `cross_attention_cache`.

    Keys and values of the source are computed once, by `encode`.

    Args:
        task: a `keras_hub.models.Seq2SeqLM`, whose weights it shares.
        begin: ids of the tokens that every output begins with, one at least; decoding begins with the last of them.
        end: ids of the tokens that end a text; () where only the maximum length ends it.

    Call arguments:
        inputs: {"source": (batch, source_time), "target": (batch, time)} int32; sources padded on the right with 0,
            targets from the last of `begin` on.

    Returns:
        next-token logits at each position of the target, (batch, time, vocabulary) float32.

    Raises:
        ExportError: the task reads something else than text, or keeps caches in its own way.
    """

    sources = (_SOURCE,)

    def __init__(self, task: Any, begin: Sequence[int], end: Sequence[int] = (), **kwargs: Any):
        super().__init__(**kwargs)
        if extra := input_names(task) - _READ:
            raise refused(task, f"reads {', '.join(sorted(extra))} beside text")
        arguments = inspect.signature(task.call_decoder_with_cache).parameters
        if "cross_attention_cache_update_index" not in arguments or not hasattr(task, "_initialize_cache"):
            raise refused(task, "keeps the caches of its decoder in its own way")
        self._masks_target = "decoder_padding_mask" in arguments
        self.task = task
        self.begin_with(begin, end, positions_of(task.backbone))
        self.vocabulary_size = int(task.outputs[0].shape[-1])
        with refusals(task):
            self._own = PackedCache(lambda batch, length: _empty_caches(task, batch, length)[0])
            self._cross = PackedCache(lambda batch, length: _empty_caches(task, batch, length)[1])
        self.built = True

    def call(self, inputs, training=False):
        source, target = inputs["source"], inputs["target"]
        target = ops.concatenate([self.tokens_before(ops.shape(target)[0]), target], axis=1)
        given = {
            "encoder_token_ids": source,
            "encoder_padding_mask": ops.cast(is_real(source), "int32"),
            "decoder_token_ids": target,
            "decoder_padding_mask": ops.ones_like(target),
        }
        return ops.cast(self.task(given, training=training)[:, len(self._before) :], "float32")

    def encode(self, inputs=None):
        """What the encoder makes of the source, which of it is real, and its keys and values for each layer."""
        real = is_real(inputs)
        encoded = self.task.call_encoder(token_ids=inputs, padding_mask=real)
        batch = ops.shape(inputs)[0]
        tokens = ops.full((batch, 1), self.start, "int32")

        def run(cross):
            def read(own):
                outputs = self._decoded(encoded, real, tokens, own, 0, cross, 0)
                return outputs[3], outputs[2]

            cross, _ = self._own.extended(self._own.empty(batch, grows=True), 1, read)
            return None, cross

        with refusals(self.task):
            _, state = self._cross.extended(self._cross.empty(batch, grows=True), ops.shape(inputs)[1], run)
        return {"encoded": encoded, "real": real, "entries": state.entries}

    def read(self, tokens, state, memory=()):
        with refusals(self.task):
            return super().read(tokens, state, memory)

    def decoded(self, memory, tokens, own, position, cross):
        with last_logits():
            outputs = self._decoded(memory["encoded"], memory["real"], tokens, own, position, cross, None)
        return outputs[0][:, -1], outputs[2]

    def _decoded(self, encoded, real, tokens, own, index, cross, cross_index):
        """Logits, hidden states, and both caches."""
        # All tokens are real; by a mask of its own, EdRec takes those with id 0 for padding, and one token at a time.
        masks = {"decoder_padding_mask": ops.ones_like(tokens[:, :1])} if self._masks_target else {}
        return self.task.call_decoder_with_cache(
            **masks,
            encoder_hidden_states=encoded,
            encoder_padding_mask=real,
            decoder_token_ids=tokens,
            self_attention_cache=own,
            self_attention_cache_update_index=index,
            cross_attention_cache=cross,
            cross_attention_cache_update_index=cross_index,
        )

    def get_config(self):
        own = {"task": without_preprocessor(self.task), "begin": self.begin, "end": self.end}
        return super().get_config() | own

    @classmethod
    def from_config(cls, config, custom_objects=None):
        task = keras.saving.deserialize_keras_object(config.pop("task"), custom_objects)
        return cls(task, **config)


def is_real(source: Any) -> Any:
    """Which tokens of sources are no padding, (batch, time) bool: those up to the last that is not 0."""
    place = ops.cumsum(ops.ones_like(source), axis=1)  # from 1
    return place <= ops.max(ops.where(source != 0, place, 0), axis=1, keepdims=True)


def _empty_caches(task: Any, batch: int, length: int) -> Any:
    tokens = ops.zeros((batch, length), "int32")
    return task._initialize_cache(tokens, tokens)
