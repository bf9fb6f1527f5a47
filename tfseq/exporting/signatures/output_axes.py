"""Named axes of outputs: which output axis follows which input axis, found by running the model at several sizes."""

from collections.abc import Sequence

import numpy as np

from tfseq.exporting.signatures.accepted_inputs import AcceptedInputs, Case
from tfseq.exporting.signatures.random_inputs import free_axes
from tfseq.exporting.signatures.signature import Signature
from tfseq.runtime.manifest import TensorSpec

_FAR = 4  # times as long


def output_specs(accepted: AcceptedInputs) -> tuple[TensorSpec, ...]:
    """The outputs of a signature's function by name, with the axes that follow an input's axis named after it.

    An axis that follows none, or of which the sizes that the model takes do not tell, has a name of its own.

    Args:
        accepted: the signature's inputs; samples, if there are any, and random ones beside them.
    """
    signature, cases = accepted.signature, accepted.points()
    axes = free_axes(signature.inputs)
    if not cases:
        return _unseen(signature, axes)
    names = {name: _axis_names(name, cases, axes) for name in cases[0].outputs}
    always = {size for shape in names.values() for size in shape if isinstance(size, int)}
    unsure = not all(_stays(size, cases, axes) for size in always)
    static = _static(signature) if unsure or not _all_vary(cases, axes) else {}

    def size(name: str, axis: int) -> int | str:
        _, shape = static.get(name, ("", None))
        found = names[name][axis]
        if shape is None:
            return found
        known = shape[axis]
        if known is not None:
            return known
        return f"{name}_axis_{axis}" if isinstance(found, int) and not _stays(found, cases, axes) else found

    return tuple(
        TensorSpec(name, _dtype(array), tuple(size(name, axis) for axis in range(array.ndim)))
        for name, array in cases[0].outputs.items()
    )


def _dtype(array: np.ndarray) -> str:
    return "string" if array.dtype.kind == "O" else str(array.dtype)


def _axis_names(name: str, cases: Sequence[Case], axes: Sequence[str]) -> list[int | str]:
    """Of each axis the input's axis that it follows, the size that it always had, or a name of its own."""
    found: list[int | str] = []
    for axis, sizes in enumerate(zip(*(case.outputs[name].shape for case in cases))):
        followed = [of for of in axes if tuple(case.sizes[of] for case in cases) == sizes]
        always = sizes[0] if len(set(sizes)) == 1 else None
        found.append(followed[0] if followed else f"{name}_axis_{axis}" if always is None else int(always))
    return found


def _all_vary(cases: Sequence[Case], axes: Sequence[str]) -> bool:
    return all(len({case.sizes[axis] for case in cases}) > 1 for axis in axes)


def _stays(size: int, cases: Sequence[Case], axes: Sequence[str]) -> bool:
    """Whether an axis that always had a size, which no trace tells, has it also at lengths far apart.

    A convolution of large steps makes one step of many lengths.
    """
    lengths = [{case.sizes[axis] for case in cases} for axis in axes if axis != "batch"]
    return not lengths or (size > 1 and all(max(sizes) >= _FAR * min(sizes) for sizes in lengths))


def _static(signature: Signature) -> dict[str, tuple[str, Sequence[int | None] | None]]:
    """Types and shapes of the outputs as far as tracing tells them, by name."""
    function = signature.traced.if_possible
    if function is None:
        return {}
    outputs = function.structured_outputs
    shapes = {name: value.shape for name, value in outputs.items()}
    return {
        name: (outputs[name].dtype.name, None if shape.rank is None else shape.as_list())
        for name, shape in shapes.items()
    }


def _unseen(signature: Signature, axes: Sequence[str]) -> tuple[TensorSpec, ...]:
    """Of a model whose inputs are not known: sizes as far as tracing tells them; the first axis is the batch."""

    def size(name: str, axis: int, known: int | None) -> int | str:
        if known is not None:
            return known
        return "batch" if axis == 0 and "batch" in axes else f"{name}_axis_{axis}"

    return tuple(
        TensorSpec(name, dtype, tuple(size(name, axis, known) for axis, known in enumerate(shape or ())))
        for name, (dtype, shape) in _static(signature).items()
    )
