"""Models of Keras 2 (tf_keras, .h5 files) as models of Keras 3: the same layers and weights, or refused by layer."""

import inspect
import json
import zipfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
from keras import ops

from tfseq.errors import ExportError

_INNER = ("layer", "backward_layer", "cell")  # arguments that are layers themselves
_IRRELEVANT = ("_initializer", "_regularizer", "_constraint")  # to a model that is trained
_DROPPED = ("implementation", "batch_input_shape", "input_length", "query_shape", "key_shape", "value_shape")
_INERT: tuple[Any, ...] = (None, False, [], {})
_RENAMED = {"LeakyReLU": {"alpha": "negative_slope"}, "InputLayer": {"batch_input_shape": "batch_shape"}}


def is_keras_2(model: Any) -> bool:
    """Whether it is a model of tf_keras, or of the Keras that came with TensorFlow up to 2.15."""
    return any(kind.__module__.startswith("tf_keras.") and kind.__name__ == "Model" for kind in type(model).__mro__)


def converted(model: Any) -> keras.Model:
    """A model of tf_keras with the same layers and weights in Keras 3.

    Raises:
        ExportError: a layer has no counterpart, or means something else in Keras 3.
    """
    kind = type(model).__name__
    if kind not in ("Sequential", "Functional", "Model") or not getattr(model, "inputs", None):
        raise ExportError(
            f"{kind} is a model of Keras 2 that is not made of layers alone (Sequential or functional), or was never "
            "called; write its class for Keras 3, with `import keras`."
        )
    new = _model({"class_name": kind, "config": model.get_config()})
    for old, own in _pairs(model, new):
        weights = old.get_weights()
        if isinstance(own, keras.layers.Normalization):
            weights = weights[: len(own.weights)]
        if [w.shape for w in weights] != [tuple(w.shape) for w in own.weights]:
            raise ExportError(f"{_named(own.name, type(own).__name__)} has other weights in Keras 3.")
        for variable, value in zip(own.weights, weights):
            variable.assign(value)
        if isinstance(own, keras.layers.Normalization) and weights:
            own.finalize_state()
    return new


def load_keras_2(path: Path) -> Any:
    """The model in a file that Keras 2 wrote: of tf_keras where that is installed, else of Keras 3.

    Args:
        path: .keras, .h5 or .hdf5.

    Returns:
        None of a file that another version wrote, that is damaged or holds no model.

    Raises:
        ExportError: as `converted`, or a .keras file needs tf_keras.
    """
    version, config = _described(path)
    if not (config and version.startswith(("1.", "2."))):
        return None
    model = _model(json.loads(config))  # refuses code, too, which tf_keras would run
    if find_spec("tf_keras") is not None:
        import tf_keras

        try:
            return tf_keras.models.load_model(path, compile=False)
        except Exception as error:
            raise ExportError(f"tf_keras can't load {path}: {str(error).strip().splitlines()[0]}") from None
    if path.suffix == ".keras":
        raise ExportError(f"{path} is a file of Keras {version}, which tf_keras reads: pip install tf_keras.")
    model.load_weights(path)
    return model


def _described(path: Path) -> tuple[str, str]:
    """The version of Keras that wrote a file, and its model's configuration; both empty where there is none."""
    import h5py

    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as file:
                return json.loads(file.read("metadata.json"))["keras_version"], file.read("config.json").decode()
        with h5py.File(path) as file:
            found = [file.attrs.get(name, "") for name in ("keras_version", "model_config")]
    except (OSError, KeyError, TypeError, ValueError, zipfile.BadZipFile):
        return "", ""
    version, config = (x.decode() if isinstance(x, bytes) else str(x) for x in found)
    return version, config


def _model(config: Mapping[str, Any]) -> keras.Model:
    try:
        return keras.saving.deserialize_keras_object(_layer(config))
    except ExportError:
        raise
    except Exception as error:
        raise ExportError(f"Keras 3 can't make the same model: {error}") from error


def _layer(given: Mapping[str, Any]) -> dict[str, Any]:
    """A layer's configuration in Keras 3."""
    kind, config = given["class_name"], dict(given["config"])
    if kind in ("Functional", "Model", "Sequential"):
        return _network(kind, config)
    name = _named(config.get("name", kind), kind)
    if kind == "TFOpLambda":
        return _operator(name, config)
    cls = getattr(keras.layers, kind, None)
    if cls is None or kind == "Lambda" or not str(given.get("module") or "keras").startswith(("keras", "tf_keras")):
        raise ExportError(f"{name} of Keras 2 has no counterpart in Keras 3: write it there as a class of layers.")
    for old, new in _RENAMED.get(kind, {}).items():
        if old in config:
            config[new] = config.pop(old)
    config = {key: value for key, value in config.items() if not key.endswith(_IRRELEVANT)}
    accepted = _arguments(cls)
    for key, value in list(config.items()):
        if key in _INNER and isinstance(value, Mapping):
            config[key] = _layer(value)
        elif key == "cells" or (key == "cell" and isinstance(value, list)):
            config[key] = [_layer(cell) for cell in value]
        elif key.endswith("activation") and value is not None:
            config[key] = _activation(name, value)
        elif key == "dtype" and isinstance(value, Mapping):
            config[key] = value["config"]["name"]
        elif key == "axis" and kind == "BatchNormalization" and isinstance(value, (list, tuple)):
            (config[key],) = value
        elif key not in accepted:
            if value not in _INERT and key not in _DROPPED and (key, value) != ("groups", 1):
                raise ExportError(f"{name} has {key}={value!r}, which Keras 3 does not know: build it without.")
            del config[key]
    return {"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None}


def _network(kind: str, config: dict[str, Any]) -> dict[str, Any]:
    layers: list[dict[str, Any]] = []
    for given in config["layers"]:
        layer = _layer(given)
        if kind != "Sequential":
            layer["name"] = given["name"]
            layer["inbound_nodes"] = [_node(node) for node in given["inbound_nodes"]]
        elif not layers and given["class_name"] != "InputLayer" and "batch_input_shape" in given["config"]:
            shape = {"batch_shape": given["config"]["batch_input_shape"], "dtype": given["config"].get("dtype")}
            layers.append({"module": "keras.layers", "class_name": "InputLayer", "config": shape})
        layers.append(layer)
    kept = ("name", "trainable", "input_layers", "output_layers")
    new = {key: config[key] for key in kept if key in config} | {"layers": layers}
    for key in ("input_layers", "output_layers"):
        if len(new.get(key, ())) == 1:
            (new[key],) = new[key]  # one tensor, not a list of one
    if kind == "Sequential":
        return {"module": "keras", "class_name": "Sequential", "config": new, "registered_name": None}
    return {"module": "keras.src.models.functional", "class_name": "Functional", "config": new, "registered_name": None}


def _node(node: list[Any]) -> dict[str, Any]:
    """A call in Keras 3's form: from the layers that its first argument comes from, and the other arguments."""
    if node and isinstance(node[0], str):
        node = [node]
    first = [_tensor(entry[:3]) for entry in node]
    others = {key: _value(value) for key, value in (node[0][3] if len(node[0]) > 3 else {}).items()}
    others.pop("name", None)
    return {"args": first if len(first) == 1 else [first], "kwargs": others}


def _value(value: Any) -> Any:
    is_tensor = isinstance(value, (list, tuple)) and len(value) == 3 and isinstance(value[0], str)
    return _tensor(value) if is_tensor and all(type(number) is int for number in value[1:]) else value


def _tensor(place: Any) -> dict[str, Any]:
    return {
        "class_name": "__keras_tensor__",
        "config": {"shape": [], "dtype": "float32", "keras_history": list(place)},
    }


def _arguments(cls: type) -> set[str]:
    """Of a layer's constructor, those of its bases included."""
    constructors = [vars(base)["__init__"] for base in cls.__mro__[:-1] if "__init__" in vars(base)]
    return {name for constructor in constructors for name in inspect.signature(constructor).parameters}


def _activation(name: str, value: Any) -> Any:
    if value == "hard_sigmoid":
        return keras.saving.serialize_keras_object(hard_sigmoid)
    if isinstance(value, str) and hasattr(keras.activations, value):
        return value
    raise ExportError(f"{name} has the activation {value!r}, which Keras 3 does not know: build it with another.")


@keras.saving.register_keras_serializable("tfseq", "hard_sigmoid_of_keras_2")
def hard_sigmoid(x: Any) -> Any:
    """Keras 2's: of slope 1/5, where Keras 3's has 1/6."""
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


_OPERATORS = {
    "__operators__.add": ops.add,
    "math.add": ops.add,
    "math.subtract": ops.subtract,
    "math.multiply": ops.multiply,
    "math.truediv": ops.divide,
    "math.divide": ops.divide,
    "math.negative": ops.negative,
    "math.exp": ops.exp,
    "math.sqrt": ops.sqrt,
    "math.square": ops.square,
    "math.tanh": ops.tanh,
    "math.sigmoid": ops.sigmoid,
    "nn.relu": ops.relu,
}


@keras.saving.register_keras_serializable("tfseq")
class Operator(keras.layers.Layer):
    """A function of TensorFlow between the layers of a functional model of Keras 2, such as `x + y`."""

    def __init__(self, function, **kwargs):
        super().__init__(**kwargs)
        self.function = function

    def call(self, x, y=None):
        return _OPERATORS[self.function](x) if y is None else _OPERATORS[self.function](x, y)

    def get_config(self):
        return super().get_config() | {"function": self.function}


def _operator(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    if config["function"] not in _OPERATORS:
        raise ExportError(
            f"{name} calls tf.{config['function']}, which has no counterpart in Keras 3: write it there with keras.ops."
        )
    config = {"name": config["name"].replace(".", "_"), "function": config["function"]}
    return {"module": __name__, "class_name": "Operator", "config": config, "registered_name": "tfseq>Operator"}


def _pairs(old: Any, new: Any) -> Iterator[tuple[Any, Any]]:
    """Layers that hold weights, of Keras 2 and 3: those of models and wrappers one by one."""
    if isinstance(new, keras.Model):
        olds = [layer for layer in old.layers if type(layer).__name__ != "InputLayer"]
        news = [layer for layer in new.layers if not isinstance(layer, keras.layers.InputLayer)]
        for pair in zip(olds, news, strict=True):
            yield from _pairs(*pair)
    elif isinstance(new, keras.layers.TimeDistributed):
        yield from _pairs(old.layer, new.layer)
    else:
        yield old, new


def _named(name: str, kind: str) -> str:
    return f"The layer {name} ({kind})"
