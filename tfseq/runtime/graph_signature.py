"""Whether the inputs, outputs and settings that a manifest describes are those of its graph."""

from collections.abc import Sequence

import numpy as np

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime.decoding_settings import checked_length, checked_setting, described_settings, setting_specs
from tfseq.runtime.manifest import Manifest, TensorSpec
from tfseq.runtime.printable import shown
from tfseq.runtime.session import GraphTensor

_TYPES = {"float": "float32", "double": "float64"}  # others have one name in ONNX Runtime and in NumPy


def check_graph(manifest: Manifest, inputs: Sequence[GraphTensor], outputs: Sequence[GraphTensor]) -> None:
    """
    Args:
        inputs, outputs: of the graph.

    Raises:
        ArtefactError: a name, type or size is another in the graph, or a default is none that the graph takes.
    """
    for side, verb, specs, tensors in (
        ("inputs", "takes", manifest.inputs, inputs),
        ("outputs", "gives", manifest.outputs, outputs),
    ):
        described, names = [spec.name for spec in specs], [tensor.name for tensor in tensors]
        if sorted(described) != sorted(names):
            raise ArtefactError(f"The manifest describes the {side} {described}; the graph {verb} {names}.")
        by_name = {tensor.name: tensor for tensor in tensors}
        for spec in specs:
            _check_tensor(spec, by_name[spec.name], sized=side == "inputs")
    _check_states(manifest)
    if manifest.task != "predict":
        if not (manifest.sources or manifest.continues_prompts):
            raise ArtefactError("The manifest is damaged: decoding begins with a start token, and there is no source.")
        _check_defaults(manifest)


def _check_tensor(spec: TensorSpec, tensor: GraphTensor, sized: bool) -> None:
    kind = tensor.dtype.removeprefix("tensor(").removesuffix(")")
    dtype = _TYPES.get(kind, kind)
    fits = spec.dtype == dtype
    if tensor.shape and sized:  # of outputs, ONNX Runtime's guesses may be less, or other than what comes out
        fits = fits and len(spec.shape) == len(tensor.shape)
        pairs = zip(spec.shape, tensor.shape, strict=False)
        fits = fits and all(size is None or not isinstance(axis, int) or axis == size for axis, size in pairs)
    if not fits:
        shape = ", ".join("?" if size is None else str(size) for size in tensor.shape)
        raise ArtefactError(f"The manifest describes {spec}; in the graph it is {dtype} ({shape}).")


def _check_states(manifest: Manifest) -> None:
    specs = {spec.name: spec for spec in manifest.inputs}
    for state in manifest.states:
        spec = specs[state.input]
        shape = [size if isinstance(size, int) else 1 for size in spec.shape]
        try:
            np.broadcast_to(np.asarray(state.initial, spec.dtype), shape)
        except (TypeError, ValueError, OverflowError):
            raise ArtefactError(
                f"The manifest is damaged: the state {spec} can't begin with {shown(state.initial)}."
            ) from None


def _check_defaults(manifest: Manifest) -> None:
    try:
        checked_length(manifest, None)
        for name, setting in described_settings(manifest).items():
            if setting.default is not None:
                checked_setting(name, setting.default, setting_specs(manifest)[name].dtype, setting)
    except InputError as error:
        raise ArtefactError(f"The manifest is damaged: {error}") from None
