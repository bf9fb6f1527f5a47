"""Named axes of outputs: which output axis follows which input axis, found by running the graph at two sizes."""

from collections.abc import Callable, Mapping

import numpy as np

from tfseq.exporting.signatures.random_inputs import draw
from tfseq.exporting.signatures.signature import Signature
from tfseq.runtime.manifest import TensorSpec

SIZES = ((2, 19), (3, 23))  # batch and length, all different
APART = 10  # between the lengths of axes of different names


def output_specs(
    signature: Signature, run: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
) -> tuple[TensorSpec, ...]:
    """The outputs of `run` by name, with the axes that follow an input's axis named after it."""
    axes = dict.fromkeys(axis for spec in signature.inputs for axis in spec.shape if isinstance(axis, str))

    def fed(apart: int) -> list[dict[str, np.ndarray]]:
        lengths = [{axis: length + apart * i for i, axis in enumerate(axes)} for _, length in SIZES]
        return [draw(signature.inputs, signature.vocabulary_sizes, batch, by) for (batch, _), by in zip(SIZES, lengths)]

    feeds = fed(APART)
    try:
        results = [run(feed) for feed in feeds]
    except Exception:  # axes of different names that have to be equal after all, or too long for the model
        feeds = fed(0)
        results = [run(feed) for feed in feeds]
    known = {
        tuple(feed[spec.name].shape[axis] for feed in feeds): size
        for spec in reversed(signature.inputs)
        for axis, size in reversed(list(enumerate(spec.shape)))
        if isinstance(size, str)
    }

    def shape(name: str) -> tuple[int | str, ...]:
        pairs = zip(*(result[name].shape for result in results))
        return tuple(
            int(a) if a == b else known.get((a, b), f"{name}_axis_{axis}") for axis, (a, b) in enumerate(pairs)
        )

    return tuple(TensorSpec(name, str(results[0][name].dtype), shape(name)) for name in results[0])
