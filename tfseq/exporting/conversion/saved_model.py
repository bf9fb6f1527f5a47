"""SavedModels with named signatures: written so that TensorFlow serves them without our code, and loaded."""

import errno
import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tfseq.errors import ArtefactError
from tfseq.exporting.conversion.convert import tensorflow_specs
from tfseq.exporting.signatures.lookup_layers import lookup_layers
from tfseq.exporting.signatures.signature import Signature
from tfseq.exporting.signatures.string_arrays import as_text
from tfseq.reasons import first_line


def write_saved_model(folder: Path, model: keras.Model, signatures: Mapping[str, Signature]) -> dict[str, list[str]]:
    """Writes a SavedModel whose signatures take and give tensors by name.

    Args:
        folder: a new folder.
        model: whose variables the signatures read.
        signatures: by name; the first is also `serving_default`.

    Returns:
        each signature's outputs in the order of its function's dictionary, which the SavedModel forgets.

    Raises:
        OSError: the folder can't be written.
    """
    module = tf.Module()
    module.variables_ = [weight.value for weight in model.weights]
    module.tables_ = [layer.lookup_table for layer in lookup_layers(model)]
    functions = {}
    for name, signature in signatures.items():
        specs = {spec.name: tensor for spec, tensor in zip(signature.inputs, tensorflow_specs(signature.inputs))}
        functions[name] = tf.function(signature.function, autograph=False).get_concrete_function(**specs)
    first = next(iter(functions.values()))
    try:
        tf.saved_model.save(module, folder, signatures=functions | {"serving_default": first})
    except tf.errors.OpError as error:
        number = _error_number(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number)) from error
    return {name: list(function.structured_outputs) for name, function in functions.items()}


def _error_number(error: tf.errors.OpError) -> int | None:
    """The system's number of what TensorFlow reports of a file, as "PATH; No space left on device"; None of others."""
    said = [number for number in errno.errorcode if f"; {os.strerror(number)}" in error.message]
    if said:
        return said[0]
    kinds = {tf.errors.ResourceExhaustedError: errno.ENOSPC, tf.errors.PermissionDeniedError: errno.EACCES}
    return kinds.get(type(error))


def load_signatures(folder: str | os.PathLike[str]) -> dict[str, Callable]:
    """The signatures of a SavedModel, as functions of arrays by name.

    Raises:
        ArtefactError: there is no SavedModel in the folder.
    """
    try:
        loaded = tf.saved_model.load(folder)
    except Exception as error:
        raise ArtefactError(f"{folder} is not a SavedModel that TensorFlow can load: {first_line(error)}") from None

    return {name: functools.partial(_run, loaded, name) for name in loaded.signatures}


def _run(loaded, signature: str, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    outputs = loaded.signatures[signature](**{name: tf.constant(array) for name, array in feeds.items()})
    return {name: as_text(tensor.numpy()) for name, tensor in outputs.items()}
