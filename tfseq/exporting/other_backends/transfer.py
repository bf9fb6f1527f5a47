"""A model and what it is made of, from one backend of Keras to another: saved in one process, loaded in the next."""

import base64
import contextlib
import json
import pickle
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import keras
from keras.src.backend.common import global_state
from keras.src.utils import python_utils

from tfseq.errors import ExportError
from tfseq.exporting.other_backends.channel import pickled, pickles_definitions
from tfseq.exporting.signatures.call_arguments import CallForm, call_form, remember_call_form
from tfseq.exporting.signatures.reasons import called_layer, first_line

_KNOWN = ("keras", "tfseq", "builtins")  # packages whose classes need no help
_FRAMEWORKS = {"jax": "jax", "jaxlib": "jax", "torch": "torch", "flax": "flax", "torchvision": "torch"}


@dataclass(frozen=True)
class SavedModel:
    """A model on its way to another process.

    Attributes:
        folder: where Keras saved it.
        custom: its own classes and functions, pickled, by the names that Keras looks them up by.
        form: how it is called, where Keras does not remember that.
        settings: of Keras, by name.
    """

    folder: Path
    custom: Mapping[str, bytes]
    form: CallForm | None
    settings: Mapping[str, Any]


def save(model: keras.Model, folder: Path, samples: Any) -> SavedModel:
    """Saves a model, without its optimizer and loss.

    Args:
        folder: a new folder.
        samples: what the model takes, if it has not been called yet.

    Raises:
        ExportError: its configuration or its classes can't be saved, or the disk is full.
    """
    form = None
    with contextlib.suppress(ExportError) if model.built and not samples else contextlib.nullcontext():
        form = call_form(model, samples)
    name = type(model).__name__
    try:
        with (
            mock.patch.object(model, "optimizer", None, create=True),
            mock.patch.object(model, "get_compile_config", return_value=None),
            mock.patch.object(python_utils, "func_dump", _dumped),
        ):
            keras.saving.save_model(model, folder, zipped=False)
    except OSError as error:
        raise ExportError(f"{name} can't be saved for its export: {error.strerror or error}.") from error
    except NotImplementedError as error:
        raise ExportError(_without_config(model, error)) from error
    except Exception as error:
        raise ExportError(f"Keras can't save {name}, which exporting needs: {first_line(error)}") from error
    words = set(_strings(json.loads((folder / "config.json").read_text("utf-8"))))
    custom = {key: _pickled(key, found) for key, found in _custom_objects(model).items() if words & _names(key, found)}
    return SavedModel(folder, custom, form, _settings())


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
    try:
        with mock.patch.object(python_utils, "func_load", _loaded):
            model = keras.saving.load_model(saved.folder, custom_objects=custom, compile=False, safe_mode=False)
    except Exception as error:
        for name, reason in missing.items():
            raise ExportError(
                f"{name} can't be loaded for the export on TensorFlow: {first_line(reason)} Define it in a module of "
                "its own that can be imported on any backend."
            ) from error
        raise ExportError(explained(error, "The model can't be rebuilt on TensorFlow", custom.values())) from error
    if saved.form is not None:
        remember_call_form(model, saved.form)
    return model


def explained(error: BaseException, what: str, classes: Any) -> str:
    """A sentence about a model that fails on TensorFlow: which layer computes in something else, if one does."""
    layer = called_layer(error)
    for found in classes:
        framework = computes_in(found)
        if framework and layer in (None, found.__name__):
            return (
                f"{found.__name__} computes in {framework}, which TensorFlow can't trace: write it with keras.ops, and "
                "it can be exported from every backend."
            )
    subject = f": {layer} fails when it is called there" if layer else ""
    return f"{what}{subject}: {first_line(error)}"


def computes_in(found: Any) -> str | None:
    """The framework whose functions the methods of a class, or a function, call by themselves."""
    functions = [found] if isinstance(found, types.FunctionType) else _methods(found)
    for function in functions:
        for name in _read_names(function.__code__):
            root = _root(function.__globals__.get(name)) or name
            if root in _FRAMEWORKS and (name in function.__globals__ or name == root):
                return _FRAMEWORKS[root]
    return None


def _methods(found: Any) -> list[types.FunctionType]:
    return [value for value in vars(found).values() if isinstance(value, types.FunctionType)]


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
