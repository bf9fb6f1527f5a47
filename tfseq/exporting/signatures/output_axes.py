"""Named axes of outputs: which output axis follows which input axis, found by running the model at several sizes."""

from collections.abc import Mapping, Sequence

import numpy as np

from tfseq.exporting.signatures.accepted_inputs import AcceptedInputs, Case, traced
from tfseq.exporting.signatures.random_inputs import free_axes
from tfseq.exporting.signatures.signature import Signature
from tfseq.runtime.manifest import TensorSpec


def output_specs(signature: Signature, samples: Sequence[Mapping[str, np.ndarray]] = ()) -> tuple[TensorSpec, ...]:
    """The outputs of a signature's function by name, with the axes that follow an input's axis named after it.

    An axis that follows none, or of which the sizes that the model takes do not tell, has a name of its own.

    Args:
        samples: inputs by name; random ones are tried beside them.
    """
    cases = AcceptedInputs(signature, samples).points()
    axes = free_axes(signature.inputs)
    known = all(len({case.sizes[axis] for case in cases}) > 1 for axis in axes)
    static = {} if cases and known else _static(signature)
    if not cases:
        named = dict.fromkeys(axes)
        return tuple(
            TensorSpec(name, dtype, tuple(_unseen(name, i, n, named) for i, n in enumerate(shape or ())))
            for name, (dtype, shape) in static.items()
        )

    def spec(name: str) -> TensorSpec:
        dtype, shape = static.get(name, (None, None))
        rank = cases[0].outputs[name].ndim
        sizes = [_size(name, axis, cases, axes, (shape or [None] * rank)[axis], known) for axis in range(rank)]
        return TensorSpec(name, dtype or str(cases[0].outputs[name].dtype), tuple(sizes))

    return tuple(map(spec, cases[0].outputs))


def _size(
    name: str, axis: int, cases: Sequence[Case], axes: Sequence[str], static: int | None, known: bool
) -> int | str:
    sizes = [case.outputs[name].shape[axis] for case in cases]
    if static is not None or (known and len(set(sizes)) == 1):
        return int(sizes[0])
    following = [of for of in axes if [case.sizes[of] for case in cases] == sizes]
    return following[0] if following else f"{name}_axis_{axis}"


def _static(signature: Signature) -> dict[str, tuple[str, Sequence[int | None] | None]]:
    """Types and shapes of the outputs as far as tracing tells them, by name."""
    function = traced(signature)
    if function is None:
        return {}
    outputs = function.structured_outputs
    shapes = {name: value.shape for name, value in outputs.items()}
    return {
        name: (outputs[name].dtype.name, None if shape.rank is None else shape.as_list())
        for name, shape in shapes.items()
    }


def _unseen(name: str, axis: int, size: int | None, axes: Mapping[str, None]) -> int | str:
    """Of a model that takes no inputs that are known: the first axis is the batch."""
    if size is not None:
        return size
    return "batch" if axis == 0 and "batch" in axes else f"{name}_axis_{axis}"
