"""A float32 copy of a model that computes in float16 or bfloat16."""

import keras

from tfseq.errors import ExportError

LOW = ("float16", "bfloat16")


def precision(model: keras.Model) -> str:
    """The policy of the layers that compute in float16 or bfloat16, or "float32" if none does."""
    for layer in model._flatten_layers():
        if layer.compute_dtype in LOW or any(weight.dtype in LOW for weight in layer.weights):
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
        copy = keras.saving.deserialize_keras_object(
            _with_float32(keras.saving.serialize_keras_object(model)),
            custom_objects={type(layer).__name__: type(layer) for layer in model._flatten_layers()},
        )
        if not copy.built:
            copy.build()
        weights = [keras.ops.convert_to_numpy(keras.ops.cast(w, "float32")) for w in model.weights]
        copy.set_weights(weights)
    except Exception as error:
        raise ExportError(
            f"{type(model).__name__} was trained in {precision(model)} and can't be rebuilt in float32: {error} "
            "Give it a get_config, or load its weights into a float32 model and export that."
        ) from error
    return copy


def _with_float32(config):
    """A Keras configuration with every low-precision policy in it replaced."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy" and config["config"]["name"].endswith(LOW):
            return config | {"config": config["config"] | {"name": "float32"}}
        return {key: "float32" if _names_policy(key, value) else _with_float32(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return type(config)(_with_float32(value) for value in config)
    return config


def _names_policy(key, value):
    return key in ("dtype", "dtype_policy") and isinstance(value, str) and value.endswith(LOW)
