"""Loading .keras and .h5 files for the command line: custom classes, unsafe code refused, one-line errors."""

import os
import re
import sys
import zipfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tfseq.errors import ExportError
from tfseq.keras_file_limits import check_outputs, check_unpacked, limited_building


def load_keras_model(path: Path, custom: Sequence[str] = (), unsafe: bool = False) -> Any:
    """The model in a file saved by Keras.

    Args:
        path: .keras, or .h5 and .hdf5 of older versions. One of Keras 2 becomes a model of Keras 3, or of tf_keras
            where that is installed.
        custom: custom classes of the model, as MODULE:CLASS each, in the current folder or on Python's path.
        unsafe: also load Python code stored in the file (Lambda layers), which can do anything.

    Raises:
        ExportError: there is no such file, it is damaged or holds code, it asks for more room than a file of its size
            can need, or a class is unknown or can't be imported.
    """
    import keras

    from tfseq.keras2 import load_keras_2

    import_module("tfseq.models")  # registers our classes with Keras
    if (path / "saved_model.pb").is_file():
        raise ExportError(
            f"{path} is a SavedModel folder, which holds graphs and not a model's layers; expected a model saved by "
            "Keras (.keras): model.save('NAME.keras') where it was trained."
        )
    if path.is_dir():
        raise ExportError(f"{path} is a folder; expected a model saved by Keras (.keras).")
    if not path.is_file():
        raise ExportError(f"There is no file {path}; expected a model saved by Keras (.keras).")
    if not (zipfile.is_zipfile(path) if path.suffix == ".keras" else path.suffix in (".h5", ".hdf5")):
        raise ExportError(f"{path} is not a model saved by Keras (.keras), or it is damaged or truncated.")
    classes = {cls.__name__: cls for cls in map(_imported_class, custom)}
    check_unpacked(path)
    try:
        with limited_building(path):
            model = None if custom else load_keras_2(path)
            if model is None:
                model = keras.saving.load_model(path, custom_objects=classes, compile=False, safe_mode=not unsafe)
        check_outputs(path, model)
        return model
    except ExportError:
        raise
    except Exception as error:  # Keras raises what its parts raise: zip, JSON, HDF5, a constructor
        raise ExportError(f"Keras can't load {path}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "its parts nest too deeply."
    if isinstance(error, MemoryError):
        return "the memory of this machine is not enough."
    text = str(error)
    if "vocabulary file outside" in text:
        return (
            "it has a layer that reads its vocabulary from another file of this machine. If you trust the file, add "
            "--unsafe; or save the model again with the vocabulary as a list, which the file then holds."
        )
    if "TFSMLayer" in text and "safe_mode" in text:
        return (
            "it has a layer that runs a SavedModel from elsewhere (TFSMLayer), which could do anything when it runs. "
            "If you trust that, too, add --unsafe; or write its layers with Keras."
        )
    if "torch.load" in text:
        return (
            "it holds a module of PyTorch (TorchModuleWrapper) as a pickle, which could do anything when it is opened. "
            "If you trust the file, add --unsafe; or write its layers with Keras."
        )
    if "safe_mode" in text or "unsafe" in text.lower():
        return (
            "it holds Python code (a Lambda layer), which could do anything when it runs. If you trust the file, add "
            "--unsafe; or write the layer as a class, save the model again and name the class with --custom."
        )
    if unknown := re.search(r"Could not locate class '(\w+)'|[Uu]nknown (?:layer|object): '?(\w+)", text):
        name = unknown[1] or unknown[2]
        return f"it needs the class {name}, which is not Keras' own; name it with --custom MODULE:{name}."
    return (text.strip().splitlines() or [type(error).__name__])[0]


def _imported_class(name: str) -> type:
    """The class that "package.module:Class" names, in the current folder or on Python's path."""
    module, _, attribute = name.partition(":")
    if not (module and attribute):
        raise ExportError(f"--custom is {name!r}; expected MODULE:CLASS, such as layers:Attention.")
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        found = getattr(import_module(module), attribute)
    except ImportError as error:
        raise ExportError(f"Can't import {module} for --custom {name}: {error}.") from None
    except AttributeError:
        raise ExportError(f"The module {module} has no {attribute}, which --custom {name} asks for.") from None
    except Exception as error:
        raise ExportError(f"The module {module} of --custom {name} fails: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(folder)
    if not isinstance(found, type):
        raise ExportError(f"{name} is a {type(found).__name__}; --custom expects a class.")
    return found
