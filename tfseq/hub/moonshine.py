"""`Moonshine`, KerasHub's MoonshineAudioToText as a `Generator`."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfseq.hub.speech_to_text import SpeechToText
from tfseq.hub.task_settings import positions_of, without_preprocessor

SHORTEST = 895  # samples that its three convolutions make one step of


@keras.saving.register_keras_serializable(package="tfseq")
class Moonshine(SpeechToText):
    """KerasHub's MoonshineAudioToText.

    As KerasHub's preprocessor does, it takes samples of the padding value for padding, wherever they are.

    Args:
        task: a `keras_hub.models.MoonshineAudioToText`, whose weights it shares.
        begin: ids of the tokens that every output begins with, one at least; decoding begins with the last of them.
        end: ids of the tokens that end a text.
        sampling_rate, padding_value, do_normalize: of the `MoonshineAudioConverter`.

    Call arguments:
        inputs: {"samples": (batch, samples) float32, "target": (batch, time) int32}; targets go from the last of
            `begin` on.

    Returns:
        next-token logits at each position of the target, (batch, time, vocabulary) float32.
    """

    def __init__(
        self,
        task: Any,
        begin: Sequence[int],
        end: Sequence[int] = (),
        sampling_rate: int = 16000,
        padding_value: float = 0.0,
        do_normalize: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.task, self.sampling_rate = task, sampling_rate
        self.padding_value, self.do_normalize = padding_value, do_normalize
        self.begin_with(begin, end, positions_of(task.backbone))
        self.vocabulary_size = int(task.outputs[0].shape[-1])
        attention = task.backbone.decoder_blocks[0].self_attention
        layers, heads = task.backbone.decoder_num_layers, task.backbone.decoder_num_heads
        self.cached_in(layers, heads, attention._key_dim, task.backbone.compute_dtype)
        self.built = True

    def call(self, inputs, training=False):
        target = inputs["target"]
        target = ops.concatenate([self.tokens_before(ops.shape(target)[0]), target], axis=1)
        values, real = self._heard(inputs["samples"])
        given = {
            "encoder_input_values": values,
            "encoder_padding_mask": real,
            "decoder_token_ids": target,
            "decoder_padding_mask": ops.ones_like(target, "bool"),
        }
        return ops.cast(self.task(given, training=training)[:, len(self._before) :], "float32")

    def encode(self, inputs=None):
        """What the encoder makes of the sounds, which of it is real, and its keys and values for each layer."""
        encoded, real = self.task.call_encoder(*self._heard(inputs))
        attentions = [layer.cross_attention for layer in self.task.backbone.decoder_blocks]
        return {"encoded": encoded, "real": real, "entries": self.entries(attentions, encoded)}

    def decoded(self, memory, tokens, own, position, cross):
        backbone = self.task.backbone
        x = backbone.token_embedding(tokens)
        rotary = backbone.decoder_rotary_embedding(position + ops.arange(ops.shape(tokens)[1], dtype="int32"))
        caches = []
        for i, layer in enumerate(backbone.decoder_blocks):
            x, cache = layer(
                decoder_sequence=x,
                encoder_sequence=memory["encoded"],
                rotary_embedding=rotary,
                encoder_padding_mask=memory["real"],
                self_attention_cache=own[:, i, ...],
                self_attention_cache_update_index=position,
                cross_attention_cache=cross[:, i, ...],
                training=False,
            )
            caches.append(cache)
        logits = backbone.token_embedding(backbone.decoder_post_norm(x[:, -1]), reverse=True)
        return logits, ops.stack(caches, axis=1)

    def _heard(self, samples):
        """Samples as the encoder takes them, (batch, samples, 1), at least SHORTEST, and which are no padding."""
        if self.do_normalize:
            samples = samples - ops.mean(samples, axis=1, keepdims=True)
            samples = samples / ops.sqrt(ops.var(samples, axis=1, keepdims=True) + 1e-7)
        missing = ops.maximum(SHORTEST - ops.shape(samples)[1], 0)
        behind = ops.full((ops.shape(samples)[0], missing), self.padding_value, "float32")
        samples = ops.concatenate([samples, behind], axis=1)
        return ops.expand_dims(samples, 2), samples != self.padding_value

    def get_config(self):
        names = ("begin", "end", "sampling_rate", "padding_value", "do_normalize")
        own = {"task": without_preprocessor(self.task), **{name: getattr(self, name) for name in names}}
        return super().get_config() | own

    @classmethod
    def from_config(cls, config, custom_objects=None):
        task = keras.saving.deserialize_keras_object(config.pop("task"), custom_objects)
        return cls(task, **config)
