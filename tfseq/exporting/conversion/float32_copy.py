"""A float32 copy of a model that computes in float16 or bfloat16, as a whole or in some of its layers."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import keras
from keras.dtype_policies import DTypePolicy, QuantizedDTypePolicy

from tfseq.errors import ExportError
from tfseq.exporting.signatures.lookup_layers import lookup_layers

LOW = ("float16", "bfloat16")


def precision(model: keras.Model) -> str:
    """The policy of the layers that compute in float16 or bfloat16, or "float32" if none does."""
    for layer in model._flatten_layers():
        own = [
            *layer._trainable_variables,
            *layer._non_trainable_variables,
        ]  # `weights` has those of its sublayers, too
        if layer.compute_dtype in LOW or any(weight.dtype in LOW for weight in own):
            return layer.dtype_policy.name
    return "float32"


def as_float32(model: keras.Model) -> keras.Model:
    """The model itself if it computes in float32 throughout, else a copy that does, with the same weights.

    Raises:
        ExportError: the model can't be rebuilt from its configuration.
    """
    if precision(model) == "float32":
        return model
    try:
        with _only_float32_policies():
            copy = keras.saving.deserialize_keras_object(
                _with_float32(keras.saving.serialize_keras_object(model)),
                custom_objects={type(layer).__name__: type(layer) for layer in model._flatten_layers()},
            )
            if not copy.built:
                copy.build()
        copy.set_weights([_as_float32(weight) for weight in model.weights])
        for layer, own in zip(lookup_layers(copy), lookup_layers(model), strict=True):
            _share_vocabulary(layer, own)
    except Exception as error:
        raise ExportError(
            f"{type(model).__name__} was trained in {precision(model)} and can't be rebuilt in float32: {error} "
            "Give it a get_config, or load its weights into a float32 model and export that."
        ) from error
    return copy


def _share_vocabulary(layer: Any, own: Any) -> None:
    """With the lookup layer that it is a copy of: what `adapt` has learned is in no configuration."""
    for name in ("lookup_table", "idf_weights_const", "_frozen_vocab_size"):
        if hasattr(own, name):
            setattr(layer, name, getattr(own, name))


@contextlib.contextmanager
def _only_float32_policies() -> Iterator[None]:
    """Within, layers are made in float32, whatever policy they, the global one or a layer around them ask for."""
    usual = keras.config.dtype_policy()
    with (
        mock.patch.object(DTypePolicy, "__init__", _float32_policy(DTypePolicy.__init__)),
        mock.patch.object(QuantizedDTypePolicy, "__init__", _quantized_float32_policy(QuantizedDTypePolicy.__init__)),
    ):
        keras.config.set_dtype_policy(DTypePolicy(usual.name))
        try:
            yield
        finally:
            keras.config.set_dtype_policy(usual)


def _float32_policy(init: Callable) -> Callable:
    def __init__(self: Any, name: Any = None) -> None:
        init(self, _float32_name(name))

    return __init__


def _quantized_float32_policy(init: Callable) -> Callable:
    def __init__(self: Any, mode: Any, source_name: Any = None) -> None:
        init(self, mode, _float32_name(source_name))

    return __init__


def _float32_name(policy: Any) -> Any:
    return "float32" if isinstance(policy, str) and policy.endswith(LOW) else policy


def _with_float32(config):
    """A Keras configuration with every low-precision type in it replaced: of inputs, of casts, of layers."""
    if isinstance(config, dict):
        named = {key: _float32_name(config[key]) for key in ("dtype", "dtype_policy") if key in config}
        return {key: _with_float32(value) for key, value in (config | named).items()}
    if isinstance(config, list | tuple):
        return type(config)(_with_float32(value) for value in config)
    return config


def _as_float32(weight: Any) -> Any:
    """The values of a weight; integers, as quantized ones are, stay what they are."""
    value = weight.value
    return keras.ops.convert_to_numpy(keras.ops.cast(value, "float32") if weight.dtype in LOW else value)
