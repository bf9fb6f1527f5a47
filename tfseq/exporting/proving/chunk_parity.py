"""Parity of chunk graphs: chunk after chunk against the whole sequence, first in Keras itself, then in the file."""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from tfseq.errors import ExportError
from tfseq.exporting.proving.elsewhere import elsewhere
from tfseq.exporting.proving.report import CheckedSizes, NumberCheck, WorstError
from tfseq.exporting.signatures.accepted_inputs import AcceptedInputs, Case
from tfseq.exporting.signatures.random_inputs import free_axes
from tfseq.exporting.signatures.sample_inputs import feeds as as_feeds
from tfseq.exporting.signatures.signature import Signature
from tfseq.exporting.streaming.chunk_graph import Stream, layers_across_steps, stream_signature
from tfseq.reasons import first_line
from tfseq.runtime.chunk_stream import first_states
from tfseq.runtime.manifest import TensorSpec

CASES = ((1, (1, 1, 1)), (3, (1, 4, 12)), (8, (17, 47)))  # batch, and lengths of the chunks
SHORTER = ((1, 2, 4), (1, 2), (1, 1))  # lengths for a model that takes none as long
FIXED = 3  # chunks of the length that a model fixes

Arrays = Mapping[str, np.ndarray]
Run = Callable[[Arrays], Arrays]


def check_stream(
    run: Run, model: keras.Model, of: str, tolerance: float, samples: Any = (), random: bool = True
) -> NumberCheck:
    """`run` over chunks against the model over the whole sequences, or in chunks if it fixes their length.

    Raises:
        ExportError: the model can't be run.
    """
    stream = _as_it_is(stream_signature(model, samples), model)
    worst, sizes = WorstError(tolerance), CheckedSizes()
    if stream.in_turn is not None:
        _check_in_turn(run, stream, stream.in_turn, samples, random, worst, sizes)
    else:
        for case, chunks in _of_samples(stream, samples):
            _compare(run, stream, case, chunks, worst)
            sizes.samples += 1
        for case, chunks in _random(stream) if random else ():
            _compare(run, stream, case, chunks, worst)
            sizes.add(case.sizes)
    if not worst.cases:
        raise ExportError(
            f"{type(model).__name__} takes none of the random inputs that were tried. Give what it takes, "
            'samples=[...], with verify="samples" to compare on these alone.'
        )
    against = "keras, whole" if stream.in_turn is None else "keras, in chunks"
    return replace(worst.check("chunks", of, against), cases=sizes.samples + sizes.random, on=str(sizes))


def require_causal(model: keras.Model, stream: Stream, tolerance: float) -> None:
    """
    Raises:
        ExportError: the model itself gives something else in chunks than over the whole sequence.
    """
    if stream.in_turn is not None:
        return  # what it gives in chunks is what it gives
    worst = WorstError(tolerance)
    name, looks = type(model).__name__, layers_across_steps(model)
    hint = f" These look at several steps at once: {looks}." if looks else ""

    def run(feeds: Arrays) -> Arrays:
        return _in_keras(stream.signature.function, feeds)

    try:
        for case, chunks in itertools.islice(_random(stream), 2):
            _compare(run, stream, case, chunks, worst)
    except Exception as error:
        raise ExportError(f"{name} can't read a sequence in chunks of any length: {first_line(error)}{hint}") from error
    check = worst.check("chunks", "keras", "keras, whole")
    if not check.passed:
        raise ExportError(
            f"{name} can't stream: in chunks it gives something else than over the whole sequence, by "
            f"{check.worst_absolute:.2g} at {check.where}.{hint}"
        )


def _as_it_is(stream: Stream, model: keras.Model) -> Stream:
    """With what the model gives on its own backend, where `model` is the copy of one on another."""
    original = elsewhere()
    if original is None:
        return stream

    def whole(**tensors: Any) -> dict[str, np.ndarray]:
        return original.whole(model, {name: keras.ops.convert_to_numpy(x) for name, x in tensors.items()})

    in_turn = None if stream.in_turn is None else functools.partial(original.in_turn, model)
    return replace(stream, whole=whole, in_turn=in_turn)


_Chunked = tuple[Case, tuple[int, ...]]  # inputs over a whole sequence, and lengths of its chunks


def _random(stream: Stream) -> Iterator[_Chunked]:
    """Of the lengths above, or shorter ones where the model takes none of those."""
    accepted = AcceptedInputs(_whole(stream))
    for seed, (batch, lengths) in enumerate(CASES):
        for chunks in (lengths, *(shorter for shorter in SHORTER if sum(shorter) < sum(lengths))):
            axes = free_axes(stream.inputs)
            case = accepted.case({axis: batch if axis == "batch" else sum(chunks) for axis in axes}, seed)
            if case is not None:
                yield case, chunks
                break
        else:
            if seed == 0 and accepted.refusal is not None:
                raise accepted.refusal


def _of_samples(stream: Stream, samples: Any) -> Iterator[_Chunked]:
    accepted = AcceptedInputs(_whole(stream), as_feeds(samples, stream.inputs))
    for case in accepted.of_samples():
        if case is None:
            raise ExportError(f"The model does not take the sample: {accepted.reason}")
        length = max(case.feeds[spec.name].shape[1] for spec in stream.inputs if _has_time(spec))
        yield case, (1, length - 1) if length > 1 else (1,)


def _whole(stream: Stream) -> Signature:
    return Signature(tuple(stream.inputs), stream.whole, stream.signature.vocabulary_sizes)


def _check_in_turn(
    run: Run, stream: Stream, in_turn: Callable, samples: Any, random: bool, worst: WorstError, sizes: CheckedSizes
) -> None:
    """Against a stateful model that reads chunks of one length, and no longer sequence at once."""
    signature = Signature(tuple(stream.inputs), lambda **chunk: in_turn([chunk])[0], stream.signature.vocabulary_sizes)
    accepted = AcceptedInputs(signature)
    specs = stream.signature.inputs
    given = [[sample] * FIXED for sample in as_feeds(samples, stream.inputs)]
    sizes.samples = len(given)
    for seed in range(FIXED) if random else ():
        cases = [accepted.case({}, FIXED * seed + turn) for turn in range(FIXED)]
        given.append([case.feeds for case in cases if case is not None])
        sizes.add({"batch": _rows(given[-1][0])}) if given[-1] else given.pop()
    for chunks in given:
        states = first_states(stream.states, specs, _rows(chunks[0]))
        for turn, (chunk, expected) in enumerate(zip(chunks, in_turn(chunks))):
            outputs = dict(run({**chunk, **states}))
            states = {state.input: outputs.pop(state.output) for state in stream.states}
            for name, value in expected.items():
                worst.add(outputs[name], value, f"{_described(chunk)}, chunk {turn + 1}", name)


def _rows(feeds: Arrays) -> int:
    return len(next(iter(feeds.values())))


def _described(feeds: Arrays) -> str:
    return ", ".join(f"{name} {array.shape}" for name, array in feeds.items())


def _compare(run: Run, stream: Stream, case: Case, chunks: tuple[int, ...], worst: WorstError) -> None:
    """Compares what is known at the end of each chunk with the model over all steps until there."""
    feeds = case.feeds
    specs = {spec.name: spec for spec in stream.signature.inputs}
    states = first_states(stream.states, specs.values(), _rows(feeds))
    ends = list(itertools.accumulate(chunks))
    given: list[Arrays] = []
    expected: list[Arrays] = []
    for start, end in zip([0, *ends], ends):
        outputs = dict(run({**_steps(specs, feeds, start, end), **states}))
        states = {state.input: outputs.pop(state.output) for state in stream.states}
        given.append(outputs)
        whole = end == ends[-1]
        expected.append(case.outputs if whole else _in_keras(stream.whole, _steps(specs, feeds, 0, end)))
    where = f"{_described(feeds)} in chunks of {chunks}"
    for name in expected[0]:
        values = [outputs[name] for outputs in given]
        if all(array.ndim > 1 and array.shape[1] == end for end, array in zip(ends, (x[name] for x in expected))):
            worst.add(np.concatenate(values, axis=1), expected[-1][name], where, name)
        else:
            for value, right, end in zip(values, (x[name] for x in expected), ends):
                worst.add(value, right, f"{where}, after {end}", name)


def _steps(specs: Mapping[str, TensorSpec], feeds: Arrays, start: int, end: int) -> dict[str, np.ndarray]:
    return {name: array[:, start:end] if _has_time(specs[name]) else array for name, array in feeds.items()}


def _has_time(spec: TensorSpec) -> bool:
    return len(spec.shape) > 1 and isinstance(spec.shape[1], str)


def _in_keras(function: Callable[..., Mapping[str, Any]], feeds: Arrays) -> dict[str, np.ndarray]:
    outputs = function(**{name: keras.ops.convert_to_tensor(array) for name, array in feeds.items()})
    return {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}
