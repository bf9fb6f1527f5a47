"""The user's sample inputs, in whatever form the model takes them, as arrays by input name."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tfseq.errors import ExportError
from tfseq.exporting.signatures.string_arrays import as_text
from tfseq.runtime.manifest import TensorSpec

Sample = Any  # an array, a list of arrays, or a dictionary of arrays
DTYPES = {"float64": "float32", "int64": "int32"}  # NumPy's default dtypes, and what models compute in


def as_list(samples: Any, inputs: int | None = None) -> list[Sample]:
    """Samples as a list, also where one is given without a list around it; texts are the rows of one.

    Args:
        samples: a sample, or an iterable of them.
        inputs: how many the model has: as many arrays, one for each, are one sample.
    """
    if samples is None:
        return []
    if isinstance(samples, str):
        return [np.array([samples], object)]
    if isinstance(samples, Mapping) or hasattr(samples, "shape"):
        return [samples]
    try:
        samples = list(samples)
    except TypeError:
        raise ExportError(
            f"samples is {samples!r}; expected what the model takes: an array, a list or a dictionary of arrays, or a "
            "list of these."
        ) from None
    if samples and all(isinstance(sample, str) for sample in samples):
        return [np.array(samples, object)]
    arrays = all(hasattr(sample, "shape") for sample in samples)
    return [samples] if inputs not in (None, 1) and len(samples) == inputs and arrays else samples


def by_name(sample: Sample, inputs: Sequence[TensorSpec]) -> dict[str, np.ndarray]:
    """One sample input as arrays by input name, checked against the signature.

    Raises:
        ExportError: it does not fit.
    """
    wanted = ", ".join(map(str, inputs))
    names = [spec.name for spec in inputs]
    if isinstance(sample, Mapping) and len(inputs) > 1 and sample.keys() == set(names):
        arrays = [sample[name] for name in names]
    else:  # in the model's own structure, whose order is that of the signature
        arrays = _flat(sample)
        if not all(hasattr(array, "shape") for array in arrays):
            raise ExportError(f"A sample holds {type(sample).__name__}, not arrays; expected {wanted}.")
    if len(inputs) > 1 and isinstance(sample, Mapping) and 0 < len(sample.keys() & set(names)) < len(names):
        raise ExportError(f"A sample has {', '.join(map(str, sample))}; expected {wanted}.")
    if len(arrays) != len(inputs):
        raise ExportError(f"A sample has {len(arrays)} arrays; expected {len(inputs)}: {wanted}.")
    return {spec.name: _array(spec, array) for spec, array in zip(inputs, arrays)}


def feeds(samples: Any, inputs: Sequence[TensorSpec]) -> list[dict[str, np.ndarray]]:
    """Sample inputs as arrays by input name, checked against the signature.

    Raises:
        ExportError: one of them does not fit.
    """
    return [by_name(sample, inputs) for sample in as_list(samples, len(inputs))]


def specs_of(sample: Sample) -> Any:
    """The same structure, of `TensorSpec`s without names that leave the batch free."""

    def spec(array: Any) -> TensorSpec:
        array = np.asarray(array)
        dtype = "string" if array.dtype.kind in "USO" else DTYPES.get(str(array.dtype), str(array.dtype))
        return TensorSpec("", dtype, ("batch", *array.shape[1:]) if array.ndim else ())

    return keras.tree.map_structure(spec, sample)


def _flat(sample: Sample) -> list[Any]:
    return keras.tree.flatten(dict(sample) if isinstance(sample, Mapping) else sample)


def _array(spec: TensorSpec, value: Any) -> np.ndarray:
    array = np.asarray(keras.ops.convert_to_numpy(value) if keras.ops.is_tensor(value) else value)
    if spec.dtype == "string" and array.ndim == 1 and all(size == 1 for size in spec.shape[1:]):
        array = array.reshape(-1, *spec.shape[1:])  # one text for each row
    sizes = zip(array.shape, spec.shape)
    if array.ndim != len(spec.shape) or any(isinstance(b, int) and a != b for a, b in sizes):
        raise ExportError(f"A sample of {spec.name!r} has shape {array.shape}; expected {spec}.")
    if spec.dtype == "string":
        if array.dtype.kind not in "USO":
            raise ExportError(f"A sample of {spec.name!r} holds {array.dtype}; expected text: {spec}.")
        return as_text(array.astype(object))
    if np.dtype(spec.dtype).kind in "iub" and array.dtype.kind == "f" and (array != np.round(array)).any():
        raise ExportError(f"A sample of {spec.name!r} holds fractions; expected {spec}.")
    return array.astype(spec.dtype)
