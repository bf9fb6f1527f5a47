"""Inputs that a model accepts, found by running the model itself: sizes and values, the user's samples first.

A random input is a guess. What a model takes (lengths up to its table of positions, integers that divide) no signature
says, so each guess runs on the model before any file sees it; those that it refuses say nothing about a file.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfseq.exporting.signatures.accepted_sizes import TURNS, Sizes, between, nearby, search_order, small_sizes
from tfseq.exporting.signatures.other_values import Change, changed, changes
from tfseq.exporting.signatures.random_inputs import BATCHES, draw, free_axes, grid, usual_lengths
from tfseq.exporting.signatures.signature import Signature
from tfseq.exporting.signatures.string_arrays import as_text
from tfseq.reasons import first_line

SECONDS = 30.0  # that the random cases of one comparison may take, about
SEARCH_SECONDS = 20.0  # that looking for sizes may take
_SAMPLES, _ROWS = 3, 2  # that tell an output's axes apart
SLOW = 0.05  # seconds of computing in a run, from which on a traced graph is quicker over all cases
_FIRST_SLOW = 1.0  # of a first run, which is never quick
_LONG = 2.0  # seconds
_FEW = 20  # runs that are quicker than tracing

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """Inputs that the model takes, and what it makes of them.

    Attributes:
        feeds, outputs: by name.
        sizes: of the free axes, by name.
    """

    feeds: Arrays
    outputs: Arrays
    sizes: Sizes


class AcceptedInputs:
    """Random inputs that a model takes.

    Args:
        signature: of the model; its function is run eagerly, or as a graph where many sizes are tried or it is slow.
        samples: the user's sample inputs, by name. They bound the lengths that are tried.

    Attributes:
        signature: as given.
        refusal: why the model refused what it refused last; None if it never did.
    """

    def __init__(self, signature: Signature, samples: Sequence[Mapping[str, np.ndarray]] = ()):
        self.signature, self._samples = signature, [dict(sample) for sample in samples]
        self.refusal: Exception | None = None
        self._changes = changes(signature.inputs, signature.vocabulary_sizes, self._samples)
        self._always_finite = True
        self._finite: set[tuple[int, ...]] = set()  # lengths of cases whose outputs were
        self._not_finite: set[tuple[int, ...]] = set()
        self._points: list[Case] | None = None
        self._quick = 0  # runs that were to be quick
        self._runs, self._slow = 0, False  # eager runs, and whether the last one was slow
        self._faithful: bool | None = None  # whether the traced graph gave what slow ones gave; None before any
        self._seen: set = set()  # lengths that cases were run at by the model that knows them
        self._longest = 0, 0.0  # length of an eager run, and its seconds
        self._axes = free_axes(signature.inputs)
        self._lengths = [axis for axis in self._axes if axis != "batch"]

    @property
    def reason(self) -> str:
        """The refusal in a line."""
        return first_line(self.refusal)

    @property
    def where_not_finite(self) -> list[str]:
        """A phrase about the lengths that were left out, where the model's outputs are beyond float32."""
        if not self._not_finite:
            return []
        lengths = ", ".join(f"{axis} {n}" for axis, n in zip(self._lengths, min(self._not_finite)))
        return [f"the Keras model's own output is not finite from {lengths} on"]

    def of_samples(self) -> Iterator[Case | None]:
        """Each sample with the model's outputs; None for one that the model refuses."""
        for sample in self._samples:
            outputs = self.run(sample)
            yield None if outputs is None else Case(sample, outputs, self._sizes(sample))

    def cases(self) -> Iterator[Case]:
        """Random inputs of several batch sizes and lengths, small ones first, as many as SECONDS allow.

        The first one of each length is run eagerly, or in a graph that was traced for that very length, as a model's
        code may look at it.
        """
        began, tried, taken = time.monotonic(), set(), set()
        last: tuple[float, int] | None = None  # seconds and elements of the case before

        def affordable(sizes: Sizes) -> bool:
            if last is None:
                return True
            seconds, elements = last
            return time.monotonic() - began + seconds * max(1, self._elements(sizes) / elements) <= SECONDS

        def tries(planned: Sequence[tuple[int, Sizes]]) -> Iterator[Case]:
            nonlocal last
            for seed, sizes in sorted(planned, key=lambda item: (self._elements(item[1]), item[0])):
                key = tuple(sizes.items()) or seed
                if key in tried or not affordable(sizes):
                    continue
                tried.add(key)
                start, length = time.monotonic(), self._length(sizes)
                case = self._case(sizes, seed, self._run_or_trace if length in self._seen else self._run_knowing_sizes)
                if case is not None:
                    yield case
                    taken.add(length)
                    self._seen.add(length)
                    last = time.monotonic() - start, self._elements(sizes)

        yield from tries(grid(self._axes, self._usual_lengths()))
        more = self._more_lengths(taken)
        if more:
            yield from tries([(seed, sizes) for seed, sizes in enumerate(more)])
            yield from tries(grid(self._axes, more))

    def points(self) -> list[Case]:
        """A few cases that tell the free axes apart by their sizes, as far as can be: [] if the model takes nothing."""
        if self._points is None:
            self._points = self._find_points()
        return self._points

    def _find_points(self) -> list[Case]:
        found = [case for sample in self._samples[:_SAMPLES] if (case := self._few_rows(sample)) is not None]
        for apart in (True, False) if len(self._lengths) > 1 else (False,):
            if not found:
                found = self._small(apart)
        until = time.monotonic() + SEARCH_SECONDS
        found = found or self._search(until)
        return found + self._varied(found, until) if found else []

    def _small(self, apart: bool) -> list[Case]:
        """Cases of small sizes, closer together where the first one takes long."""
        start, seconds, found, tried = time.monotonic(), 0.0, [], []
        for turn in range(TURNS):
            sizes = small_sizes(self._axes, turn, apart, far=seconds < _LONG)
            if sizes in tried:
                continue
            tried.append(sizes)
            case = self.case(sizes, seed=1)
            seconds = time.monotonic() - start
            found += [] if case is None else [case]
        return found

    def _few_rows(self, sample: Arrays) -> Case | None:
        """The first rows of a sample, or all of it if the model takes no fewer."""
        sizes = self._sizes(sample)
        few = sizes | {axis: min(sizes[axis], _ROWS) for axis in self._axes if axis == "batch"}
        for chosen in (few, sizes):
            feeds = self._resized(sample, chosen)
            outputs = self.run(feeds)
            if outputs is not None:
                return Case(feeds, outputs, chosen)
        return None

    def case(self, sizes: Sizes, seed: int) -> Case | None:
        """Random inputs of these sizes of the free axes; None if the model takes none."""
        return self._case(sizes, seed, self._run_or_trace)

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays | None:
        """The model's outputs by name; None if it refuses the inputs."""
        return self._run(self.signature.function, feeds)

    def in_graph(self, feeds: Mapping[str, np.ndarray]) -> Arrays | None:
        """The outputs of the graph of any batch, and these lengths, as Keras' `predict` has it; None if there is none.

        Eager calls know the batch's size, and can take it for another: to `keras.ops.add` what has one axis longer than
        1 is a bias of the last axis, as (3, 1) is for (3, 3).
        """
        graph = self.signature.traced.of_sizes({axis: self._sizes(feeds)[axis] for axis in self._lengths})
        return None if graph is None else self._run(self._of_named(graph), feeds)

    def _run(self, function: Callable, feeds: Mapping[str, Any]) -> Arrays | None:
        try:
            with tf.device("/cpu:0"):  # a GPU reads beyond a table without a word
                outputs = function(**{name: keras.ops.convert_to_tensor(array) for name, array in feeds.items()})
            return {name: as_text(np.asarray(keras.ops.convert_to_numpy(value))) for name, value in outputs.items()}
        except Exception as error:
            if self.refusal is None or function is self.signature.function:  # a graph's errors say less
                self.refusal = error
            return None

    def _run_quickly(self, feeds: Mapping[str, Any]) -> Arrays | None:
        """As `run`, and in a traced graph once that is worth the tracing."""
        self._quick += 1
        return self.run(feeds) if self._quick <= _FEW else self._run(self._graph(), feeds)

    def _run_or_trace(self, feeds: Mapping[str, Any]) -> Arrays | None:
        """As `run`, and in a traced graph where eager runs are slow, as loops over time are, and the graph has given
        what they gave. What a graph refuses is run eagerly, too."""
        outputs = self._run(self._graph(), feeds) if self._slow and self._faithful else None
        return self._run_and_compare(feeds) if outputs is None else outputs

    def _run_and_compare(self, feeds: Mapping[str, Any]) -> Arrays | None:
        """As `run`, which tells whether the model is slow, and if it is, whether its graph gives the same."""
        start = time.process_time()
        outputs = self.run(feeds)
        if outputs is not None:
            seconds = time.process_time() - start
            self._slow = seconds > (SLOW if self._runs > 0 else _FIRST_SLOW if self._lengths else math.inf)
            if self._slow or self._runs > 0:
                self._longest = max(self._longest, (self._steps(feeds), seconds))
            self._runs += 1
            if self._slow and self._faithful is not False:
                self._faithful = _alike(self._run(self._graph(), feeds), outputs)
        return outputs

    def _run_knowing_sizes(self, feeds: Mapping[str, Any]) -> Arrays | None:
        """As `run`, and in a graph that was traced for these lengths where a run would take longer than tracing."""
        outputs = None
        if self._faithful and self._seconds(feeds) > max(self.signature.traced.seconds, SLOW):
            sizes = {axis: size for axis, size in self._sizes(feeds).items() if axis != "batch"}
            graph = self.signature.traced.of_sizes(sizes)
            outputs = graph and self._run(self._of_named(graph), feeds)
        return self._run_and_compare(feeds) if outputs is None else outputs

    def _seconds(self, feeds: Mapping[str, np.ndarray]) -> float:
        """That an eager run would take if it is a loop over time."""
        steps, seconds = self._longest
        return seconds * self._steps(feeds) / max(steps, 1)

    def _graph(self) -> Callable:
        graph = self.signature.traced.if_possible
        return self.signature.function if graph is None else self._of_named(graph)

    def _of_named(self, graph: Callable) -> Callable:
        return lambda **tensors: graph(*(tensors[spec.name] for spec in self.signature.inputs))

    def _case(self, sizes: Sizes, seed: int, run: Callable[[Arrays], Arrays | None]) -> Case | None:
        """Random inputs of some sizes, with the first kinds of values that the model makes finite outputs of."""
        signature, unlike = self.signature, None
        batch, known = sizes.get("batch", 1), signature.vocabularies
        drawn = draw(signature.inputs, signature.vocabulary_sizes, batch, sizes, seed, known)
        for feeds, change in self._variants(drawn, sizes):
            outputs = run(feeds)
            if outputs is None or not any(value.size for value in outputs.values()):  # too short for a window, say
                continue
            case = Case(feeds, outputs, sizes)
            finite = all(np.isfinite(value).all() for value in outputs.values() if value.dtype.kind == "f")
            if finite:
                self._finite.add(self._length(sizes))
            if finite or not self._always_finite:
                if unlike is None and change in self._changes:  # try it first from now on
                    self._changes.remove(change)
                    self._changes.insert(0, change)
                return case
            unlike = unlike or case
        if unlike is not None and self._grew(sizes):
            self._not_finite.add(self._length(sizes))
            return None
        self._always_finite = self._always_finite and unlike is None
        return unlike

    def _grew(self, sizes: Sizes) -> bool:
        """Whether outputs that are not finite at some lengths have always been at shorter ones, as those of a
        recurrent layer whose state grows from step to step."""
        length = self._length(sizes)
        shorter = any(all(a < b for a, b in zip(known, length)) for known in self._finite)
        return bool(self._lengths) and self._always_finite and length not in self._finite and shorter

    def _variants(self, drawn: Arrays, sizes: Sizes) -> Iterator[tuple[Arrays, Change | None]]:
        for change in list(self._changes):
            yield changed(drawn, change, self.signature.vocabulary_sizes, self._samples), change
        for sample in self._samples[:1]:
            yield self._resized(sample, sizes), None

    def _resized(self, sample: Arrays, sizes: Sizes) -> Arrays:
        """A sample cut or repeated along its free axes."""
        arrays = {}
        for spec in self.signature.inputs:
            array = sample[spec.name]
            for axis, name in enumerate(spec.shape):
                if isinstance(name, str):
                    array = np.take(array, np.arange(sizes[name]), axis=axis, mode="wrap")
            arrays[spec.name] = array
        return arrays

    def _usual_lengths(self) -> list[Sizes]:
        """LENGTHS; up to those of the samples where there are any."""
        if not (self._lengths and self._samples):
            return usual_lengths(self._axes)
        sizes = [self._sizes(sample) for sample in self._samples]
        longest = {axis: max(one[axis] for one in sizes) for axis in self._lengths}
        return [dict.fromkeys(self._lengths, 1), {a: (n + 1) // 2 for a, n in longest.items()}, longest]

    def _more_lengths(self, taken: set) -> list[Sizes]:
        """Sizes to try beside the usual ones: others where few were taken, and the largest below what was refused."""
        usual = [lengths[self._lengths[0]] for lengths in usual_lengths(self._axes)] if self._lengths else []
        refused = [length for length in usual if (length,) * len(self._lengths) not in taken]
        if self._samples and taken:
            return []
        more = [case.sizes for case in self.points()] if len(taken) < min(2, max(len(usual), 1)) else []
        known = [dict(zip(self._lengths, lengths)) for lengths in taken] + more
        if not (known and self._lengths) or self._samples:
            return more
        batch = {"batch": more[0].get("batch", 1) if more else BATCHES[0]} if "batch" in self._axes else {}
        largest = batch | max(known, key=lambda sizes: max(sizes[axis] for axis in self._lengths))
        longer = [length for length in refused if length > max(largest[axis] for axis in self._lengths)]
        if longer and taken:
            top = between(largest, longer[0], lambda sizes: self._case(sizes, 1, self._run_quickly) is not None)
            more = [*[sizes for sizes in more if sizes != top][:1], top]
        return more

    def _search(self, until: float) -> list[Case]:
        """The first sizes that the model takes."""
        return self._first(search_order(self._axes, self._hints()), until)

    def _varied(self, found: Sequence[Case], until: float) -> list[Case]:
        """Further cases that tell the free axes apart: other lengths together, then each axis alone where need be."""
        more: list[Case] = []
        if any(self._fixed(axis, found) for axis in self._lengths):
            others = (*nearby(found[0].sizes, self._lengths, far=True), *search_order(self._lengths, self._hints()))
            more += self._first(({**found[0].sizes, **sizes} for sizes in others), until, unlike=found)
        for axis in self._axes:
            if self._ambiguous(axis, [*found, *more]):
                far = len(self._axes) == 1 or axis == "batch"
                more += self._first(nearby(found[0].sizes, [axis], far), until)
        return more

    def _first(self, tried: Iterable[Sizes], until: float, unlike: Sequence[Case] = ()) -> list[Case]:
        """The first case of sizes that the model takes, other lengths than those of `unlike`."""
        for sizes in tried:
            if time.monotonic() > until:
                break
            if any(self._length(case.sizes) == self._length(sizes) for case in unlike):
                continue
            if self._case(sizes, 2, self._run_quickly) is not None:
                case = self.case(sizes, seed=2)
                if case is not None:
                    return [case]
        return []

    def _fixed(self, axis: str, found: Sequence[Case]) -> bool:
        return len({case.sizes[axis] for case in found}) < 2

    def _ambiguous(self, axis: str, found: Sequence[Case]) -> bool:
        """Whether an axis has had one size, or always that of an axis before it."""
        earlier = self._axes[: self._axes.index(axis)]
        sizes = [case.sizes[axis] for case in found]
        return self._fixed(axis, found) or any(sizes == [case.sizes[other] for case in found] for other in earlier)

    def _hints(self) -> list[int]:
        """Sizes of inputs and weights, among which are those of tables of positions."""
        hints = [size for spec in self.signature.inputs for size in spec.shape if isinstance(size, int)]
        return hints + [size for variable in self._variables() for size in variable.shape]

    def _variables(self) -> Sequence[Any]:
        graph = self.signature.traced.if_possible
        return () if graph is None else graph.graph.variables

    def _sizes(self, feeds: Mapping[str, np.ndarray]) -> Sizes:
        """Of a sample's free axes."""
        sizes: Sizes = {}
        for spec in self.signature.inputs:
            named = zip(spec.shape, feeds[spec.name].shape)
            sizes |= {axis: size for axis, size in named if isinstance(axis, str) and axis not in sizes}
        return {axis: sizes[axis] for axis in self._axes}

    def _elements(self, sizes: Sizes) -> int:
        shapes = ([sizes[n] if isinstance(n, str) else n for n in spec.shape] for spec in self.signature.inputs)
        return max(sum(int(np.prod(shape)) for shape in shapes), 1)

    def _steps(self, feeds: Mapping[str, np.ndarray]) -> int:
        """The longest length."""
        sizes = self._sizes(feeds)
        return max((sizes[axis] for axis in self._lengths), default=1)

    def _length(self, sizes: Sizes) -> tuple[int, ...]:
        return tuple(sizes[axis] for axis in self._lengths)


def _alike(a: Arrays | None, b: Arrays) -> bool:
    return a is not None and all(np.shape(a[name]) == np.shape(b[name]) and _close(a[name], b[name]) for name in b)


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    if b.dtype.kind == "O":
        return bool((a == b).all())
    return np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True)
