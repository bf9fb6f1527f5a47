"""Parity of chunk graphs: chunk after chunk against the whole sequence, first in Keras itself, then in the file."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from tfseq.errors import ExportError
from tfseq.exporting.conversion.convert import first_line
from tfseq.exporting.proving.report import NumberCheck, WorstError
from tfseq.exporting.signatures.random_inputs import draw
from tfseq.exporting.signatures.sample_inputs import feeds as as_feeds
from tfseq.exporting.streaming.chunk_graph import Stream, layers_across_steps, stream_signature
from tfseq.runtime.chunk_stream import first_states
from tfseq.runtime.manifest import TensorSpec

CASES = ((1, (1, 1, 1)), (3, (1, 4, 12)), (8, (17, 47)))  # batch, and lengths of the chunks

Arrays = Mapping[str, np.ndarray]
Run = Callable[[Arrays], Arrays]


def check_stream(run: Run, model: keras.Model, of: str, tolerance: float, samples: Any = ()) -> NumberCheck:
    """`run` over chunks against the model over the whole sequences.

    Raises:
        ExportError: the model can't be run.
    """
    stream = stream_signature(model, samples)
    worst = WorstError(tolerance)
    for feeds, chunks in _cases(stream, samples):
        _compare(run, stream, feeds, chunks, worst)
    return worst.check("chunks", of, "keras, whole")


def require_causal(model: keras.Model, stream: Stream, tolerance: float) -> None:
    """
    Raises:
        ExportError: the model itself gives something else in chunks than over the whole sequence.
    """
    worst = WorstError(tolerance)
    name, looks = type(model).__name__, layers_across_steps(model)
    hint = f" These look at several steps at once: {looks}." if looks else ""

    def run(feeds: Arrays) -> Arrays:
        return _in_keras(stream.signature.function, feeds)

    try:
        for feeds, chunks in itertools.islice(_cases(stream, ()), 2):
            _compare(run, stream, feeds, chunks, worst)
    except Exception as error:
        raise ExportError(f"{name} can't read a sequence in chunks of any length: {first_line(error)}{hint}") from error
    check = worst.check("chunks", "keras", "keras, whole")
    if not check.passed:
        raise ExportError(
            f"{name} can't stream: in chunks it gives something else than over the whole sequence, by "
            f"{check.worst_absolute:.2g} at {check.where}.{hint}"
        )


def _cases(stream: Stream, samples: Any) -> Iterator[tuple[dict[str, np.ndarray], tuple[int, ...]]]:
    inputs = stream.inputs
    for seed, (batch, chunks) in enumerate(CASES):
        yield draw(inputs, stream.signature.vocabulary_sizes, batch, sum(chunks), seed), chunks
    for sample in as_feeds(samples, inputs):
        length = max(sample[spec.name].shape[1] for spec in inputs if _has_time(spec))
        yield sample, (1, length - 1) if length > 1 else (1,)


def _compare(run: Run, stream: Stream, feeds: Arrays, chunks: tuple[int, ...], worst: WorstError) -> None:
    """Compares what is known at the end of each chunk with the model over all steps until there."""
    specs = {spec.name: spec for spec in stream.signature.inputs}
    batch = next(iter(feeds.values())).shape[0]
    states = first_states(stream.states, specs.values(), batch)
    ends = list(itertools.accumulate(chunks))
    given: list[Arrays] = []
    expected: list[Arrays] = []
    for start, end in zip([0, *ends], ends):
        outputs = dict(run({**_steps(specs, feeds, start, end), **states}))
        states = {state.input: outputs.pop(state.output) for state in stream.states}
        given.append(outputs)
        expected.append(_in_keras(stream.whole, _steps(specs, feeds, 0, end)))
    case = ", ".join(f"{name} {array.shape}" for name, array in feeds.items()) + f" in chunks of {chunks}"
    for name in expected[0]:
        values = [outputs[name] for outputs in given]
        if all(array.ndim > 1 and array.shape[1] == end for end, array in zip(ends, (x[name] for x in expected))):
            worst.add(np.concatenate(values, axis=1), expected[-1][name], case, name)
        else:
            for value, whole, end in zip(values, (x[name] for x in expected), ends):
                worst.add(value, whole, f"{case}, after {end}", name)


def _steps(specs: Mapping[str, TensorSpec], feeds: Arrays, start: int, end: int) -> dict[str, np.ndarray]:
    return {name: array[:, start:end] if _has_time(specs[name]) else array for name, array in feeds.items()}


def _has_time(spec: TensorSpec) -> bool:
    return len(spec.shape) > 1 and isinstance(spec.shape[1], str)


def _in_keras(function: Callable[..., Mapping[str, Any]], feeds: Arrays) -> dict[str, np.ndarray]:
    outputs = function(**{name: keras.ops.convert_to_tensor(array) for name, array in feeds.items()})
    return {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}
