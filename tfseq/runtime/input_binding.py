"""Binds arrays to a graph's signature: names, dtypes, ranks, axis sizes and values are checked, dtypes cast."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfseq.errors import InputError
from tfseq.runtime.manifest import Manifest, TensorSpec
from tfseq.runtime.printable import shown


def bind(specs: Sequence[TensorSpec], arrays: Sequence[Any], named: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Pairs arguments, by position and by name, with a signature.

    Types are cast where no value changes: integers that fit, integers to the floats that hold them, floats to floats.

    Args:
        specs: the inputs of the graph, in order.
        arrays, named: anything NumPy reads as an array.

    Raises:
        InputError: an input is missing, unknown, given twice or empty; a type, rank or size is wrong; two axes of one
            name differ.
    """
    wanted = ", ".join(map(str, specs))
    if len(arrays) > len(specs):
        raise InputError(f"Got {len(arrays)} arrays; expected {len(specs)}: {wanted}.")
    given = {spec.name: array for spec, array in zip(specs, arrays, strict=False)}
    names = [spec.name for spec in specs]
    for name in named:
        if name not in names:
            raise InputError(f"There is no input {shown(name)}; expected {wanted}.")
        if name in given:
            raise InputError(f"The input {name!r} is given twice, by position and by name.")
    given |= named
    missing = [name for name in names if name not in given]
    if missing:
        raise InputError(f"Missing {', '.join(missing)}; expected {wanted}.")
    feeds = {spec.name: _cast(spec, given[spec.name]) for spec in specs}
    _check_axes(specs, feeds)
    return feeds


def require_finite(specs: Sequence[TensorSpec], feeds: Mapping[str, np.ndarray]) -> None:
    """
    Raises:
        InputError: a float input holds nan or infinity. Keras makes nan of them; ONNX Runtime's recurrent operators
            swallow them, and a confident answer comes out.
    """
    for spec in specs:
        array = feeds[spec.name]
        if array.dtype.kind != "f" or np.isfinite(array).all():
            continue
        places = np.argwhere(~np.isfinite(array))
        first = tuple(places[0].tolist())
        more = f" and {len(places) - 1} more such values" if len(places) > 1 else ""
        raise InputError(
            f"The input {spec.name!r} holds {array[first]} at {list(first)}{more}; expected finite numbers. Fill in "
            "what is missing, or load the file with allow_nan=True: what an ONNX graph makes of such values may not be "
            "what Keras does."
        )


def require_tokens(manifest: Manifest, feeds: Mapping[str, np.ndarray], sizes: Mapping[str, int]) -> None:
    """
    Args:
        sizes: of vocabularies, by the names of the inputs that hold token ids.

    Raises:
        InputError: a token id is below 0, for which a graph takes the last of its table, or is not below the size; or
            the length of a prompt is none of its own.
    """
    for name, size in sizes.items():
        array = feeds[name]
        outside = (array < 0) | (array >= size)
        if outside.any():
            raise InputError(f"The input {name!r} holds the token {array[outside][0]}; expected 0 to {size - 1}.")
    if manifest.task == "generate" and {"prompt", "prompt_length"} <= feeds.keys():
        lengths, least = feeds["prompt_length"], int(manifest.continues_prompts)
        most = feeds["prompt"].shape[-1]
        wrong = (lengths < least) | (lengths > most)
        if wrong.any():
            raise InputError(
                f"A prompt_length is {lengths[wrong][0]}; the prompt has {most} tokens: {least} to {most}."
            )


def _cast(spec: TensorSpec, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:
        raise InputError(f"The input {spec.name!r} is ragged: its rows differ in length; pad them to {spec}.") from None
    except Exception:  # whatever an object's own conversion raises
        raise InputError(f"The input {spec.name!r} is {shown(value)}; expected {spec}.") from None
    if array.size == 0:  # operators differ in what they make of it
        raise InputError(f"The input {spec.name!r} is empty, {array.shape}; expected {spec}.")
    if spec.dtype == "string":
        if array.dtype.kind not in "UO":
            raise InputError(f"The input {spec.name!r} is {array.dtype}; expected text: {spec}.")
        return array.astype(object)
    dtype = np.dtype(spec.dtype)
    if array.dtype == dtype:
        return array
    if array.dtype.kind in "SU":
        raise InputError(f"The input {spec.name!r} is text; expected {spec}. Encode it first.")
    if array.dtype.kind not in _CASTS_TO.get(dtype.kind, ""):
        raise InputError(f"The input {spec.name!r} is {array.dtype}; expected {spec}.")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(dtype)
        if array.dtype.kind == "f":
            changed = np.isinf(cast) & ~np.isinf(array)
        else:
            changed = cast.astype(array.dtype) != array
    if changed.any():
        raise InputError(f"The input {spec.name!r} holds {array[changed][0]}, which {dtype} can't represent ({spec}).")
    return cast


_CASTS_TO = {"f": "fiub", "i": "iub", "u": "iub"}


def _check_axes(specs: Sequence[TensorSpec], feeds: Mapping[str, np.ndarray]) -> None:
    sizes: dict[str, tuple[int, str]] = {}
    for spec in specs:
        shape = feeds[spec.name].shape
        if len(shape) != len(spec.shape):
            hint = " Add the batch axis: array[None]." if len(shape) == len(spec.shape) - 1 else ""
            raise InputError(f"The input {spec.name!r} has {len(shape)} axes, {shape}; expected {spec}.{hint}")
        for axis, (size, expected) in enumerate(zip(shape, spec.shape, strict=True)):
            if isinstance(expected, int):
                if size != expected:
                    raise InputError(f"Axis {axis} of the input {spec.name!r} has size {size}; expected {spec}.")
                continue
            first, owner = sizes.setdefault(expected, (size, spec.name))
            if size != first:
                raise InputError(f"The axis {expected!r} is {first} in {owner!r} and {size} in {spec.name!r}.")
