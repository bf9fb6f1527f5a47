"""Inputs of a Generator's graphs: prompts, or sources with named axes and vocabulary sizes; and their encoding."""

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from tfseq.exporting.signatures.portable_layers import portable
from tfseq.exporting.signatures.traced import Traced
from tfseq.exporting.signatures.vocabulary_sizes import vocabulary_sizes
from tfseq.models.generator import Generator
from tfseq.runtime.manifest import TensorSpec

PROMPT = TensorSpec("prompt", "int32", ("batch", "time"))
PROMPT_LENGTH = TensorSpec("prompt_length", "int32", ("batch",))


def source_specs(model: Generator) -> tuple[TensorSpec, ...]:
    """The model's sources with names for their free axes: () of a language model."""
    alone = len(model.sources) == 1

    def spec(source: keras.InputSpec) -> TensorSpec:
        prefix = "source" if alone else source.name
        free = [axis for axis, size in enumerate(source.shape) if axis and size is None]
        names = {axis: f"{prefix}_time" if len(free) == 1 else f"{prefix}_axis_{axis}" for axis in free}
        shape = ("batch", *(names.get(axis, size) for axis, size in enumerate(source.shape) if axis))
        return TensorSpec(source.name, keras.backend.standardize_dtype(source.dtype), shape)

    return tuple(map(spec, model.sources))


def loop_inputs(model: Generator, prefix: bool = False) -> tuple[TensorSpec, ...]:
    """What the loop reads: prompts, or sources; and prompts beside the sources if `prefix`."""
    if model.start is None:
        return PROMPT, PROMPT_LENGTH
    return (*source_specs(model), *((PROMPT, PROMPT_LENGTH) if prefix else ()))


def source_length(model: Generator, length: int) -> int:
    """The length of a source for a case of `length` steps: of a sound its samples, 50 ms for each step."""
    return length if model.sampling_rate is None else length * max(model.sampling_rate // 20, 1)


def texts(inputs: Sequence[TensorSpec]) -> list[str]:
    """Names of the inputs that hold sequences of tokens."""
    return [spec.name for spec in inputs if spec.dtype == "int32" and len(spec.shape) == 2]


def source_vocabulary_sizes(model: Generator) -> Mapping[str, int]:
    """The vocabulary size of each source by name, where it is known."""
    if model not in _SOURCE_VOCABULARIES:
        specs = source_specs(model)
        sizes, _ = vocabulary_sizes(Traced(lambda **sources: encoded(model, sources), specs), specs)
        _SOURCE_VOCABULARIES[model] = sizes
    return _SOURCE_VOCABULARIES[model]


_SOURCE_VOCABULARIES: "weakref.WeakKeyDictionary[Generator, Mapping[str, int]]" = weakref.WeakKeyDictionary()


def encoded(model: Generator, sources: Mapping[str, Any]) -> Any:
    """The memory of sources by name; () of a language model, which has none."""
    given = [sources[spec.name] for spec in model.sources]
    with portable(model):
        return model.encode(given[0] if len(given) == 1 else dict(sources)) if given else model.encode()
