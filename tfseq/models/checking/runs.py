"""`Runs`: a generator's methods run on random rows, with the shape and dtype of what each returns compared."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tfseq.layers.key_value_cache import CachedState
from tfseq.models.checking.declaration import Declaration
from tfseq.models.checking.findings import Findings, cause_of, in_short, is_array, kind_of
from tfseq.models.checking.rows import ROWS, SOURCE_LENGTHS, TIME, as_tensors, by_name, is_padded, source_rows, within
from tfseq.models.generator import Generator

TOLERANCE, LOW_TOLERANCE = 1e-4, 0.1  # relative to the largest logit; the second where a layer computes in 16 bits


class Stopped(Exception):
    """A part of a check can't go on; why is in the findings."""


class Runs:
    """Runs a generator's methods on random rows, and notes where what they return is not what the protocol says.

    Args:
        model: a `Generator`.
        declared: what it declares.
        findings: where to note.
        samples: sources that it takes, by name, (rows, ...) each; {} if only random ones are tried.

    Attributes:
        form: the arguments of `call` from sources and tokens, as the model takes them.
        given: sources by name, (rows, ...).
        tokens: what its rows read, (rows, time) int32.
        tolerance: of two logits that should be equal, relative to the largest.
    """

    def __init__(self, model: Generator, declared: Declaration, findings: Findings, samples: Mapping[str, Any]):
        self.model, self.name, self.declared, self.note = model, kind_of(model), declared, findings.note
        self.samples = samples
        self.form: Callable[[Mapping, np.ndarray], tuple] = by_name
        self.given: dict[str, np.ndarray] = {}
        self.tokens = np.ones((ROWS, TIME), "int32")
        self.tolerance = TOLERANCE

    def draw(self, smallest_sources=False, smallest_tokens=False, length=None):
        """Random sources of `length`, or as long as the tokens, and tokens; `smallest`: of token ids of 1 only."""
        length = length or self.declared.time
        random = np.random.default_rng(0)
        sizes = [layer.input_dim for layer in layers_of(self.model) if isinstance(layer, keras.layers.Embedding)]
        vocabulary = self.declared.vocabulary or min(sizes, default=2)
        smallest_tokens = smallest_tokens or (smallest_sources and self.declared.vocabulary is None)
        ids = [0] if vocabulary == 1 else [1] if smallest_tokens else np.arange(1, vocabulary)
        self.tokens = random.choice(ids, (ROWS, self.declared.time)).astype("int32")
        if self.declared.start is not None:
            self.tokens[:, 0] = self.declared.start
        size = 2 if smallest_sources else max(min([vocabulary, *sizes]), 2)
        self.given = {spec.name: source_rows(spec, size, length, random) for spec in self.declared.specs}

    def take_samples(self):
        """The samples as sources, padded as random ones are, and random tokens."""
        self.draw()
        for spec in self.declared.specs:
            rows = np.resize(self.samples[spec.name], (ROWS, *np.shape(self.samples[spec.name])[1:]))
            if is_padded(spec):
                rows = rows[:, : max(SOURCE_LENGTHS)]
                rows = rows * within([min(n, rows.shape[1]) for n in SOURCE_LENGTHS], rows.shape[1])
            self.given[spec.name] = rows.astype(keras.backend.standardize_dtype(spec.dtype))

    def logits(self, method, value, leading):
        """`value` as an array (*leading, vocabulary), noted where it is not that; None where it can't be made so."""
        if isinstance(value, list | tuple) and value:
            saw = f"{self.name}.{method} returned {in_short(value)}"
            self.note(method, saw, "one tensor of logits", "return the logits alone")
            value = value[0]
        axes = "(batch, time, vocabulary)" if len(leading) == 2 else "(batch, vocabulary)"
        if not is_array(value):
            saw = f"{self.name}.{method} returned {in_short(value)}"
            self.note(method, saw, f"a tensor of logits {axes}", f"return it from `{method}`")
            return None
        shape, dtype = tuple(value.shape), keras.backend.standardize_dtype(value.dtype)
        squeezed = tuple(size for size in shape if size != 1)
        fits = shape[:-1] == leading
        if not fits:
            wanted = (*leading, self.declared.vocabulary or "vocabulary")
            saw = f"{self.name}.{method} returned logits of shape {shape}"
            line = f"return `logits[:, -1]` from `{method}`" if len(shape) == len(leading) + 2 else "change its shape"
            if len(shape) == 2 and len(leading) == 2:
                line = "return the logits of every position, not of the last alone"
            self.note(method, saw, f"{axes}, here ({', '.join(map(str, wanted))})", line)
            if squeezed[:-1] != tuple(size for size in leading if size != 1):
                return None
        array = as_array(value).reshape(*leading, shape[-1])
        if self.declared.vocabulary is None:
            self.declared.vocabulary = shape[-1]
            saw = f"{self.name} has no vocabulary_size"
            line = f"write `self.vocabulary_size = {shape[-1]}` in its __init__"
            self.note("vocabulary_size", saw, "the number of tokens that `step` scores", line)
        elif shape[-1] != self.declared.vocabulary:
            saw = f"{self.name}.{method} scores {shape[-1]} tokens and vocabulary_size is {self.declared.vocabulary}"
            self.note("vocabulary_size", saw, "the same number", f"write `self.vocabulary_size = {shape[-1]}`")
        if dtype != "float32":
            self.tolerance = LOW_TOLERANCE
            saw = f"{self.name}.{method} returned {dtype} logits"
            self.note(method, saw, "float32", f'return `keras.ops.cast(logits, "float32")` from `{method}`')
        if np.isnan(array).any():
            saw = f"{self.name}.{method} returned logits that are NaN"
            self.note("logits", saw, "numbers", f"look for a division by 0 in `{method}`, or train it again")
            return None
        if array.shape[-1] > 1 and array.min() >= 0 and np.allclose(array.sum(-1), 1, atol=1e-2):
            saw = f"{self.name}.{method} returned rows that are probabilities: none is negative, and each sums to 1"
            line = "leave the softmax out of the head and train with a loss of `from_logits=True`"
            self.note("logits", saw, "logits, from which decoding takes the softmax", line)
        return array

    def called(self, sources, tokens):
        value = self.run("call", self.model, *self.form(sources, tokens))
        return self.must("call", self.logits("call", value, tokens.shape))

    def must(self, method, value):
        if value is None:
            raise Stopped(method)
        return value

    def run(self, method, function, *inputs):
        try:
            return function(*inputs)
        except Exception as error:
            saw = f"{self.name}.{method} raised {cause_of(error)}"
            self.note(method, saw, _WANTED[method], f"change `{method}` so that it runs on them")
            raise Stopped(method) from None

    def memory(self, sources):
        if not self.declared.specs:
            return self.run("encode", self.model.encode)
        tensors = as_tensors(sources)
        return self.run("encode", self.model.encode, next(iter(tensors.values())) if len(tensors) == 1 else tensors)

    def stepped(self, memory, tokens):
        """Logits of steps that read the rows of tokens, (rows, time, vocabulary)."""
        state = self.initial_state(memory, len(tokens))
        logits = []
        for column in tokens.T:
            new, state = self.step(column, state, memory)
            logits.append(new)
        return np.stack(logits, axis=1)

    def initial_state(self, memory, rows):
        state = self.run("initial_state", self.model.initial_state, memory, rows)
        for path, leaf, axis in leaves(state, "state"):
            shape = tuple(leaf.shape) if is_array(leaf) else ()
            if shape[:1] != (rows,):
                scalar = "keras.ops.zeros((batch_size,), ...)"
                line = f"keras.ops.zeros((batch_size, {', '.join(map(str, shape[shape[:1] == (1,) :]))}))"
                self.note(
                    "state",
                    f"{self.name}.initial_state returned {in_short(leaf)} as {path} for {rows} rows",
                    f"a tensor (batch, ...), here of shape ({rows}, ...), as beam search reorders the rows",
                    f"begin with `{line if shape else scalar}` or the like",
                )
            elif axis is not None and axis < len(shape) and shape[axis] != 0:
                self.note(
                    "growing state",
                    f"{self.name}.initial_state returned {path} of shape {shape}, which grows along axis {axis}",
                    "a growing axis that begins with size 0",
                    "begin it with size 0",
                )
        return state

    def step(self, tokens, state, memory):
        """One step's logits, (rows, vocabulary), and the new state."""
        value = self.run("step", self.model.step, ops.convert_to_tensor(tokens), state, memory)
        if not isinstance(value, list | tuple) or len(value) != 2:
            saw = f"{self.name}.step returned {in_short(value)}"
            self.note("step", saw, "the logits and the new state", "write `return logits, state`")
            raise Stopped("step")
        logits = self.must("step", self.logits("step", value[0], tokens.shape))
        self.compare_states("step", state, value[1])
        return logits, value[1]

    def compare_states(self, method, old, new):
        """Whether a method kept the structure, the shapes and the dtypes of a state."""
        before, after = ({path: (leaf, axis) for path, leaf, axis in leaves(x, "state")} for x in (old, new))
        if before.keys() != after.keys():
            self.note(
                "state",
                f"{self.name}.{method} turned a state of {', '.join(before) or 'no tensors'} into one of "
                f"{', '.join(after) or 'no tensors'}",
                "the structure of initial_state",
                f"return the same structure from initial_state and {method}",
            )
            raise Stopped(method)
        for path, (leaf, axis) in before.items():
            one, other = _described(leaf, axis), _described(after[path][0], axis)
            if one != other:
                self.note(
                    "state",
                    f"{self.name}.{method} turned {path} from {in_short(leaf)} into {in_short(after[path][0])}",
                    "that shape and dtype stay",
                    "keep them, or make that part of the state a NamedTuple with `growing_axis`, along which it grows",
                )

    def first_difference(self, values, others, mask=None):
        """(row, position, token) at the first position where two (rows, time, vocabulary) differ; None if none does."""
        if values.shape != others.shape:
            return (0, 0, 0)
        usual = np.abs(others)[np.abs(others) < 1e4]  # not what masks a token out
        size = np.maximum(np.abs(np.nan_to_num(others)), usual.max() if usual.size else 0)
        equal = (values == others) | (np.abs(values - others) <= self.tolerance * size + 1e-8)
        wrong = ~equal if mask is None else ~equal & mask[..., None]
        if not wrong.any():
            return None
        rows, positions, tokens = np.nonzero(wrong)
        first = np.lexsort((tokens, rows, positions))[0]
        return int(rows[first]), int(positions[first]), int(tokens[first])


_WANTED = {
    "call": "logits of the dictionary, or tokens, that it takes",
    "encode": "the memory of the sources: one tensor, or a dictionary by name where there are several",
    "initial_state": "the state of `batch_size` rows, from the memory and `batch_size`",
    "step": "logits (batch, vocabulary) and the new state, of tokens (batch,) int32, state and memory",
    "read": "logits (batch, vocabulary) and the new state, of tokens (batch, time) int32, state and memory",
    "step_with_attention": "logits, new state and weights, of what `step` takes",
}


def leaves(part: Any, path: str, axis: Any = None) -> Iterator[tuple[str, Any, int | None]]:
    """The tensors outside of a `CachedState`, each with where it is and the axis along which it grows, if any."""
    if isinstance(part, CachedState):
        return
    growing = getattr(part, "growing_axis", None) if isinstance(part, tuple) else None
    if isinstance(part, Mapping):
        for name in sorted(part, key=str):
            yield from leaves(part[name], f"{path}[{name!r}]", axis)
    elif growing is not None:
        axes = list(growing) if isinstance(growing, list | tuple) else None
        for i, (inner, leaf, _) in enumerate(found for j, x in enumerate(part) for found in leaves(x, f"{path}[{j}]")):
            yield inner, leaf, growing if axes is None else axes[i] if i < len(axes) else None
    elif isinstance(part, list | tuple):
        for i, inner in enumerate(part):
            yield from leaves(inner, f"{path}[{i}]", axis)
    else:
        yield path, part, axis


def _described(leaf, axis):
    """A tensor's sizes, without the growing one, and its dtype."""
    if not is_array(leaf):
        return None
    return [n for i, n in enumerate(leaf.shape) if i != axis], keras.backend.standardize_dtype(leaf.dtype)


def as_array(value):
    return np.asarray(ops.convert_to_numpy(ops.cast(value, "float32")))


def layers_of(model):
    return model._flatten_layers()
