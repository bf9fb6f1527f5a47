"""`CausalLanguageModel`, KerasHub's CausalLM as a `Generator`: its own `call_with_cache` reads prompts and decodes."""

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

import keras
from keras import ops

from tfseq.hub.gpt_neo_x import positioned
from tfseq.hub.key_value_views import PackedCache, Untranslated
from tfseq.hub.task_settings import input_names, positions_of, refused, without_preprocessor
from tfseq.keras_versions import ReversibleEmbedding
from tfseq.models.generator import Generator


@keras.saving.register_keras_serializable(package="tfseq")
class CausalLanguageModel(Generator):
    """KerasHub's CausalLM, of any family that has `call_with_cache(token_ids, cache, cache_update_index)`.

    Args:
        task: a `keras_hub.models.CausalLM`, whose weights it shares.
        end: ids of the tokens that end a text; () where only the maximum length ends it.

    Call arguments:
        tokens: (batch, time) int32.

    Returns:
        next-token logits at each position, (batch, time, vocabulary) float32.

    Raises:
        ExportError: the task reads something else than text, or keeps a cache in its own way.
    """

    def __init__(self, task: Any, end: Sequence[int] = (), **kwargs: Any):
        super().__init__(**kwargs)
        if extra := input_names(task) - {"token_ids", "padding_mask"}:
            raise refused(task, f"reads {', '.join(sorted(extra))} beside text")
        if "cache_update_index" not in inspect.signature(task.call_with_cache).parameters:
            raise refused(task, "keeps the state of its decoder in its own way")
        for layer in task.backbone._flatten_layers():
            if type(layer).__name__.endswith("GatedDeltaNet"):
                what = f"steers its layer {layer.name} ({type(layer).__name__}) by values while it decodes"
                raise refused(task, what)
        self.task, self.end = task, tuple(end)
        self.vocabulary_size = int(task.outputs[0].shape[-1])
        self.max_positions = positions_of(task.backbone)
        with refusals(task):
            self._cache = PackedCache(lambda batch, length: _empty_cache(task, batch, length))
        self.built = True

    def call(self, tokens, training=False):
        inputs = {"token_ids": tokens, "padding_mask": ops.ones_like(tokens)}
        return ops.cast(self.task(inputs, training=training), "float32")

    def initial_state(self, memory, batch_size):
        return self._cache.empty(batch_size)

    def step(self, tokens, state, memory=()):
        return self.read(ops.expand_dims(tokens, 1), state)

    def read(self, tokens, state, memory=()):
        def run(cache):
            with last_logits(), positioned(self.task, state.position[0]):
                logits, _, cache = self.task.call_with_cache(tokens, cache, state.position[0])
            return ops.cast(logits[:, -1], "float32"), cache

        with refusals(self.task):
            return self._cache.extended(state, ops.shape(tokens)[1], run)

    def get_config(self):
        return super().get_config() | {"task": without_preprocessor(self.task), "end": self.end}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        task = keras.saving.deserialize_keras_object(config.pop("task"), custom_objects)
        return cls(task, **config)


def _empty_cache(task: Any, batch: int, length: int) -> Any:
    """The cache that the task makes for so many rows and tokens, before its layers have read any."""

    def unread(token_ids, cache, *_, **__):
        return None, None, cache

    tokens = ops.zeros((batch, length), "int32")
    others = _arguments(task._build_cache)[1:]
    with mock.patch.object(task, "call_with_cache", unread):
        return task._build_cache(tokens, **dict.fromkeys(others))[1]


def _arguments(function: Any) -> list[str]:
    arguments = inspect.signature(function).parameters.items()
    return [name for name, argument in arguments if argument.default is argument.empty]


@contextlib.contextmanager
def last_logits() -> Iterator[None]:
    """Within, embeddings that turn states into logits do so of the last position alone."""
    usual = ReversibleEmbedding.call

    def call(self, inputs, reverse=False):
        return usual(self, inputs[:, -1:] if reverse else inputs, reverse)

    with mock.patch.object(ReversibleEmbedding, "call", call):
        yield


@contextlib.contextmanager
def refusals(task: Any) -> Iterator[None]:
    try:
        yield
    except Untranslated as error:
        raise refused(task, str(error)) from error
