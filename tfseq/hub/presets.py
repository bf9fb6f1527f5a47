"""`load_preset`: a task of KerasHub by the name of its preset, or from a folder made by `save_to_preset`."""

import json
import os
from pathlib import Path
from typing import Any

from tfseq.errors import ExportError
from tfseq.hub.adapted import is_task
from tfseq.reasons import first_line

_GENERATING = {"Seq2SeqLM": "beam", "CausalLM": "sample"}  # which is a CausalLM, too
_SAVED_BY_KERAS = (".keras", ".h5", ".hdf5")


def is_preset(path: str | os.PathLike[str]) -> bool:
    """Whether a path may be a preset's: a folder with a `config.json`, or a name that no file has."""
    path = Path(path)
    if path.is_dir():
        return (path / "config.json").is_file()
    return not path.exists() and path.suffix not in _SAVED_BY_KERAS


def load_preset(preset: str | os.PathLike[str], task: str | None = None) -> Any:
    """A task of KerasHub, or a backbone, with its weights.

    Args:
        preset: a preset's name, a handle such as hf://USER/MODEL, or a folder made by `save_to_preset`.
        task: a class of `keras_hub.models`, such as "CausalLM"; None for that of the folder, or the first of Seq2SeqLM
            and CausalLM that the preset has, or its backbone.

    Raises:
        ExportError: KerasHub is not installed, has no such task, or can't read or download the preset.
    """
    name = os.fspath(preset)
    scheme, colon, rest = name.partition(":/")
    if colon and not rest.startswith("/"):  # which paths make of ://
        name = f"{scheme}://{rest}"
    try:
        import keras_hub
    except ImportError as error:
        raise ExportError(
            f"There is no file {name}; a preset of that name needs KerasHub, which can't be imported "
            f'({first_line(error)}): pip install "tfseq[hub]".'
        ) from None
    known = keras_hub.models
    wanted = (task,) if task else _own_task(name) or (*_GENERATING, "Backbone")
    for each in wanted:
        cls = getattr(known, each, None)
        if not (isinstance(cls, type) and issubclass(cls, known.Task | known.Backbone)):
            raise ExportError(f"KerasHub has no task {each}; give a class of keras_hub.models, such as TextClassifier.")
        try:
            return _loaded(cls, name)
        except Exception as error:  # KerasHub raises what its parts raise: downloads, JSON, HDF5, a constructor
            if "Unable to find a subclass" not in str(error):
                raise ExportError(_unreadable(name, error)) from None
            if each == wanted[-1]:
                raise ExportError(f"The preset {name} has no {each} in KerasHub; --task names another.") from None
    raise AssertionError


def _loaded(cls: Any, name: str) -> Any:
    """Without a preprocessor where the preset has no tokenizer, as a backbone's: the task then takes token ids."""
    try:
        return cls.from_preset(name)
    except FileNotFoundError as error:
        if "tokenizer.json" not in str(error):
            raise
        return cls.from_preset(name, preprocessor=None)


def usual_decoding(model: Any) -> str | None:
    """The name of the strategy that a task of KerasHub's generates by where none is asked for; None of other models."""
    kinds = {base.__name__ for base in type(model).__mro__}
    return next((strategy for kind, strategy in _GENERATING.items() if kind in kinds), None) if is_task(model) else None


def _own_task(name: str) -> tuple[str, ...]:
    """The class of the task that was saved into a folder."""
    described = Path(name) / "task.json"
    if not described.is_file():
        return ()
    try:
        return (str(json.loads(described.read_text(encoding="utf-8"))["class_name"]),)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{described} can't be read: {first_line(error)}") from None


def _unreadable(name: str, error: Exception) -> str:
    if "Unknown preset identifier" in str(error):
        return (
            f"There is no file {name}, and KerasHub has no preset of that name. Give a model saved by Keras (.keras), "
            "a preset such as gpt2_base_en or hf://USER/MODEL, or a folder made by save_to_preset."
        )
    if "Connection" in type(error).__name__ or "Failed to resolve" in str(error):
        return f"The preset {name} can't be downloaded: {first_line(error)[:200]}"
    return f"KerasHub can't load the preset {name}: {first_line(error)[:300]}"
