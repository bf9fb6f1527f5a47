"""A model and what it is made of, from one backend of Keras to another: saved in one process, loaded in the next."""

import base64
import json
import pickle
import sys
import types
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
from keras.src.backend.common import global_state
from keras.src.saving import saving_lib
from keras.src.utils import python_utils

from tfseq.errors import ExportError
from tfseq.exporting.other_backends.channel import pickled, pickles_definitions
from tfseq.exporting.signatures.call_arguments import CallForm, build_by_call, remember_call_form
from tfseq.reasons import called_layer, first_line

_KNOWN = ("keras", "tfseq", "builtins", "torch")  # packages whose classes need no help


@dataclass(frozen=True)
class SavedModel:
    """A model on its way to another process.

    Attributes:
        folder: where Keras saved it.
        custom: its own classes and functions, pickled, by the names that Keras looks them up by.
        form: how to call it, where its layers do not say that.
        weights: shape, type and checksum of each.
        untraceable: sentences about layers that compute in the functions of one framework, by the layer's class.
        settings: of Keras, by name.
    """

    folder: Path
    custom: Mapping[str, bytes]
    form: CallForm | None
    weights: Sequence[tuple]
    untraceable: Mapping[str, str]
    settings: Mapping[str, Any]

    def explained(self, error: BaseException, what: str) -> str:
        """A sentence about an error on TensorFlow: of the layer that can't be traced there, if there is one."""
        layer = called_layer(error)
        if self.untraceable and (layer is None or layer in self.untraceable):
            return self.untraceable.get(layer or "") or next(iter(self.untraceable.values()))
        subject = f": {layer} fails when it is called there" if layer else ""
        return f"{what}{subject}: {first_line(error)}"


def save(model: keras.Model, folder: Path, form: CallForm | None) -> SavedModel:
    """Saves a model, without its optimizer and loss.

    Args:
        folder: a new folder.
        form: how to call it.

    Raises:
        ExportError: its configuration or its classes can't be saved, or the disk is full.
    """
    name = type(model).__name__
    try:
        with (
            mock.patch.object(model, "optimizer", None, create=True),
            mock.patch.object(model, "get_compile_config", return_value=None),
            mock.patch.object(python_utils, "func_dump", _dumped),
        ):
            keras.saving.save_model(model, folder, zipped=False)
    except ExportError:
        raise
    except OSError as error:
        raise ExportError(f"{name} can't be saved for its export: {error.strerror or error}.") from error
    except NotImplementedError as error:
        raise ExportError(_without_config(model, error)) from error
    except Exception as error:
        raise ExportError(f"Keras can't save {name}, which exporting needs: {first_line(error)}") from error
    words = set(_strings(json.loads((folder / "config.json").read_text("utf-8"))))
    custom = {key: _pickled(key, found) for key, found in _custom_objects(model).items() if words & _names(key, found)}
    return SavedModel(folder, custom, form, _checksums(model), _untraceable(model), _settings())


def load(saved: SavedModel) -> keras.Model:
    """
    Raises:
        ExportError: it can't be rebuilt on this backend.
    """
    keras.config.set_floatx(saved.settings["floatx"])
    keras.config.set_epsilon(saved.settings["epsilon"])
    keras.config.set_image_data_format(saved.settings["image_data_format"])
    custom, missing = {}, {}
    for name, content in saved.custom.items():
        try:
            custom[name] = pickle.loads(content)
        except Exception as error:  # of a module that does not load here; the model may do without
            missing[name] = error
    keras.saving.get_custom_objects().update(custom)

    def built(*given: Any, **more: Any) -> keras.Model:
        model = made(*given, **more)
        if saved.form is not None:
            remember_call_form(model, saved.form)
            build_by_call(model, saved.form)
        return model

    made = saving_lib._model_from_config
    try:
        with (
            mock.patch.object(python_utils, "func_load", _loaded),
            mock.patch.object(saving_lib, "_model_from_config", built),  # Keras loads no weights that are not made yet
        ):
            model = keras.saving.load_model(saved.folder, custom_objects=custom, compile=False, safe_mode=False)
    except Exception as error:
        for name, reason in missing.items():
            raise ExportError(
                f"{name} can't be loaded for the export on TensorFlow: {first_line(reason)} Define it in a module of "
                "its own that can be imported on any backend."
            ) from error
        raise ExportError(saved.explained(error, "The model can't be rebuilt on TensorFlow")) from error
    if _checksums(model) != saved.weights:
        raise ExportError(
            f"{type(model).__name__} has other weights when Keras has saved and loaded it: make all of its layers in "
            "__init__, and give it a build or samples=[...], what it takes."
        )
    return model


def _checksums(model: keras.Model) -> list[tuple]:
    def of(weight: Any) -> tuple:
        array = np.ascontiguousarray(keras.ops.convert_to_numpy(weight.value))
        return array.shape, str(array.dtype), zlib.crc32(array.reshape(-1).view("uint8").data)

    return [of(weight) for weight in model.weights]


def _untraceable(model: keras.Model) -> dict[str, str]:
    """Sentences about layers whose own code calls a framework's functions, by class; most of them can't be traced."""
    found = {}
    for layer in model._flatten_layers():
        functions = [layer.function] if isinstance(layer, keras.layers.Lambda) else _methods(type(layer))
        framework = next(filter(None, map(_framework, functions)), None)
        if framework is not None:
            kind = type(layer).__name__
            found[kind] = (
                f"The layer {layer.name} ({kind}) computes in {framework}, which TensorFlow can't trace: write it with "
                "keras.ops, and it can be exported from every backend."
            )
    return found


def _framework(function: Any) -> str | None:
    """The framework of the backend, if a function calls its functions by itself."""
    code = getattr(function, "__code__", None)
    backend = keras.backend.backend()
    for name in _read_names(code) if code else ():
        if (_root(function.__globals__.get(name)) or name.split(".")[0]) == backend:
            return backend
    return None


def _methods(kind: type) -> list[Any]:
    own = [base for base in kind.__mro__ if _package(base) not in _KNOWN]
    return [value for base in own for value in vars(base).values()]


def _read_names(code: types.CodeType) -> list[str]:
    inner = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return [*code.co_names, *(name for one in inner for name in _read_names(one))]


def _root(value: Any) -> str | None:
    """The package of a module, or of what comes from one."""
    module = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
    return module.split(".")[0] if isinstance(module, str) else None


def _settings() -> dict[str, Any]:
    config = keras.config
    return {
        "floatx": config.floatx(),
        "epsilon": config.epsilon(),
        "image_data_format": config.image_data_format(),
    }


def _without_config(model: keras.Model, error: Exception) -> str:
    for layer in model._flatten_layers():
        try:
            layer.get_config()
        except NotImplementedError:
            named = type(layer).__name__
            return (
                f"{named} has no get_config, by which it could be rebuilt on TensorFlow: add one that returns the "
                f"arguments of {named}.__init__ beside those of super().get_config()."
            )
    return f"{type(model).__name__} can't be rebuilt on TensorFlow: {first_line(error)}"


def _custom_objects(model: keras.Model) -> dict[str, Any]:
    """Classes and functions that a model may need, by name: registered, in scope, or used by its layers."""
    scope = global_state.get_global_attribute("custom_objects_scope_dict") or {}
    used = {}
    for layer in model._flatten_layers():
        for value in (layer, *vars(layer).values()):
            found = value if isinstance(value, types.FunctionType) else type(value)
            if _package(found) not in _KNOWN:
                used[found.__name__] = found
    return {**used, **scope, **keras.saving.get_custom_objects()}


def _package(found: Any) -> str:
    return str(getattr(found, "__module__", "")).split(".")[0]


def _names(key: str, found: Any) -> set[str]:
    return {key, getattr(found, "__name__", key)}


def _pickled(name: str, found: Any) -> bytes:
    module = getattr(found, "__module__", None)
    if not pickles_definitions() and (module == "__main__" or module not in sys.modules):
        raise ExportError(
            f"{name} is defined in {module}, which the process that exports on TensorFlow can't import: define it in a "
            "module, or install cloudpickle."
        )
    try:
        return pickled(found)
    except Exception as error:
        raise ExportError(
            f"{name} can't be sent to the process that exports on TensorFlow: {first_line(error)} Define it in a "
            "module that can be imported."
        ) from error


def _strings(config: Any) -> Iterator[str]:
    if isinstance(config, str):
        yield config
    elif isinstance(config, Mapping):
        for value in config.values():
            yield from _strings(value)
    elif isinstance(config, list):
        for value in config:
            yield from _strings(value)


def _dumped(function: Callable) -> tuple[str, None, None]:
    """As Keras' `func_dump`, whose functions forget what they refer to."""
    return base64.b64encode(_pickled("A lambda", function)).decode("ascii"), None, None


def _loaded(code: Any, defaults: Any = None, closure: Any = None, globs: Any = None) -> Callable:
    return pickle.loads(base64.b64decode(code if isinstance(code, str) else code[0]))
