"""`SpeechToText`, models of KerasHub that write what they hear, as Generators: samples of sound in, tokens out."""

from typing import Any

import keras
from keras import ops

from tfseq.hub.cached_decoder import CachedDecoder
from tfseq.hub.key_value_views import PackedCache
from tfseq.runtime.tokenizer_base import Tokenizer

_SAMPLES = keras.InputSpec(shape=(None, None), dtype="float32", name="samples")


class SpeechToText(CachedDecoder):
    """A model of sounds, (batch, time) float32, padded on the right with 0; subclasses say how it hears them.

    Keys and values of what is heard are computed once, by `encode`.

    Attributes:
        tokenizer: what its files write text with; None for none. It is no part of the configuration.
    """

    sources = (_SAMPLES,)
    sampling_rate = 16000
    tokenizer: Tokenizer | None = None

    def cached_in(self, layers: int, heads: int, width: int, dtype: str) -> None:
        """
        Args:
            layers: of the decoder.
            width: of a head's keys and values.
        """
        cache = PackedCache(lambda batch, length: ops.zeros((batch, layers, 2, length, heads, width), dtype))
        self._own = self._cross = cache

    def entries(self, attentions: list[Any], heard: Any) -> tuple[Any, ...]:
        """Keys and values of what is heard, (batch, time, units), for each cross-attention."""
        parts = [dense(heard) for layer in attentions for dense in (layer._key_dense, layer._value_dense)]
        return tuple(ops.transpose(part, (0, 2, 1, 3)) for part in parts)  # as `GrowingState` stores them
