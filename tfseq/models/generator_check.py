"""`check_generator` tries a `Generator` in Keras: what it declares, and whether its methods agree, before an export."""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tfseq.layers.key_value_cache import CachedState, capacity, reorder, widen
from tfseq.models.findings import Finding, cause_of, in_short, is_array, kind_of
from tfseq.models.generator import Generator
from tfseq.models.generator_declaration import Declaration
from tfseq.models.generator_rows import (
    ROWS,
    SOURCE_LENGTHS,
    TARGET_LENGTHS,
    TIME,
    as_tensors,
    by_name,
    in_a_tuple,
    is_padded,
    one_by_one,
    source_rows,
    within,
)

TOLERANCE, LOW_TOLERANCE = 1e-4, 0.1  # relative to the largest logit; the second where a layer computes in 16 bits


def check_generator(model: Any) -> list[Finding]:
    """Runs a `Generator` in Keras on a few random rows, and compares what it says and does with the protocol.

    It takes seconds and traces nothing. A model without weights is built on the way, and a copy is made from the
    model's `get_config`. It finds attributes that are missing or malformed; methods that raise, or return other shapes
    and dtypes than `Generator` says; `call`, `step` and `read` that disagree at some position; rows whose logits depend
    on padding or on other rows; probabilities in place of logits; states and memories that beam search can't reorder;
    and a configuration that makes another model. A mistake in what has not been trained yet, as a bias of 0, may show
    only later.

    Args:
        model: a `tfseq.models.Generator`. Its sources are drawn at random: token ids below the size of its smallest
            embedding, padded on the right with 0; pixels from 0 to 255; normal numbers.

    Returns:
        what is to be changed, most fundamental first: [] for a model that keeps to the protocol. Whatever the model
        raises is a finding, too; nothing is raised.

    Example:
        >>> for finding in check_generator(model):
        ...     print(finding)
        Translator has no vocabulary_size; expected the number of tokens that `step` scores: write
        `self.vocabulary_size = 9` in its __init__.
    """
    if not isinstance(model, Generator):
        what = (
            f"The model is the class {model.__name__}" if isinstance(model, type) else f"The model is {kind_of(model)}"
        )
        return [
            Finding("class", what, "an instance of a subclass of tfseq.models.Generator", "give it encode and step")
        ]
    check = _Check(model)
    with warnings.catch_warnings(), capacity(4 * TIME):
        warnings.simplefilter("ignore")  # Keras' own, of calls that are tried
        for part in (
            check.declared.attributes,
            check.declared.sources,
            check.call,
            check.encode,
            check.steps,
            check.at_every_position,
            check.read,
            check.attention,
            check.rows_alone,
            check.beams,
            check.config,
        ):
            try:
                part()
            except _Stopped:
                continue
            except Exception as error:  # whatever a model's attributes and tensors do
                name = part.__name__.replace("_", " ")
                check.note(
                    "class",
                    f"The check of {name} of {check.name} met {cause_of(error)}",
                    "no error",
                    "keep to the protocol of tfseq.models.Generator",
                )
    return check.findings


class _Stopped(Exception):
    """A part of the check can't go on; why is in the findings."""


class _Check:
    """The findings so far, and what later parts of the check need of earlier ones."""

    def __init__(self, model):
        self.model, self.name = model, kind_of(model)
        self.findings: list[Finding] = []
        self.declared = Declaration(model, self.note)
        self.form: Callable[[Mapping, np.ndarray], tuple] = by_name
        self.given: dict[str, np.ndarray] = {}  # sources by name, (rows, ...)
        self.tokens = np.ones((ROWS, TIME), "int32")
        self.tolerance = TOLERANCE
        self.logits_of_call: np.ndarray | None = None
        self.logits_of_steps: np.ndarray | None = None

    def note(self, rule, saw, expected, write):
        if (rule, write) not in {(finding.rule, finding.write) for finding in self.findings}:
            self.findings.append(Finding(rule, saw, expected, write))

    def found(self, *rules):
        return any(finding.rule in rules for finding in self.findings)

    # What it returns

    def call(self):
        if any(layer.compute_dtype in ("float16", "bfloat16") for layer in _layers(self.model)):
            self.tolerance = LOW_TOLERANCE
        first = None
        attempts = (
            (False, False, self.declared.time),
            (True, False, self.declared.time),
            (False, False, 64),
            (True, True, self.declared.time),
        )
        for smallest_sources, smallest_tokens, length in attempts:
            self._draw(smallest_sources, smallest_tokens, length)
            for form in (by_name, *((in_a_tuple, one_by_one) if self.declared.specs else ())):
                try:
                    value = self.model(*form(self.given, self.tokens))
                except Exception as error:
                    first = first or error
                    continue
                if form is not by_name:
                    names = ", ".join(f'"{name}": ...' for name in (*self.given, "target"))
                    taken = ", ".join(f'inputs["{name}"]' for name in (*self.given, "target"))
                    takes = "a tuple" if form is in_a_tuple else "one argument for each input"
                    saw = f"{self.name}.call takes {takes} and raised {cause_of(first)} given a dictionary"
                    self.note("call", saw, f"a dictionary {{{names}}}", f"read `{taken}` in `call(self, inputs)`")
                self.form = form
                self.logits_of_call = self._logits("call", value, (ROWS, self.declared.time))
                if smallest_tokens and not self.found("vocabulary_size"):
                    saw = f"{self.name}.call raised {cause_of(first)} on some tokens below vocabulary_size"
                    self.note("call", saw, "that it reads all of them", "give its embedding `vocabulary_size` rows")
                self._deterministic()
                return
        self._draw(False, False, self.declared.time)
        inputs = "a dictionary of the sources and target" if self.declared.specs else "tokens (batch, time) int32"
        saw = f"{self.name}.call raised {cause_of(first)}"
        self.note("call", saw, f"next-token logits of {inputs}", "call the model on such inputs to see where")

    def _draw(self, smallest_sources, smallest_tokens, length):
        """Random sources of `length` and tokens; `smallest`: of token ids of 1 only."""
        random = np.random.default_rng(0)
        sizes = [layer.input_dim for layer in _layers(self.model) if isinstance(layer, keras.layers.Embedding)]
        vocabulary = self.declared.vocabulary or min(sizes, default=2)
        smallest_tokens = smallest_tokens or (smallest_sources and self.declared.vocabulary is None)
        ids = [0] if vocabulary == 1 else [1] if smallest_tokens else np.arange(1, vocabulary)
        self.tokens = random.choice(ids, (ROWS, self.declared.time)).astype("int32")
        if self.declared.start is not None:
            self.tokens[:, 0] = self.declared.start
        size = 2 if smallest_sources else max(min([vocabulary, *sizes]), 2)
        self.given = {spec.name: source_rows(spec, size, length, random) for spec in self.declared.specs}

    def _logits(self, method, value, leading):
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
        array = _numpy(value).reshape(*leading, shape[-1])
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

    def _deterministic(self):
        if self.logits_of_call is None:
            return
        again = self._called(self.given, self.tokens)
        if self._first_difference(self.logits_of_call, again):
            self.note(
                "random",
                f"{self.name}.call gave different logits when called twice with the same inputs",
                "the same",
                "give dropout and other noise `training=training`, which is False but in training",
            )

    def _called(self, sources, tokens):
        value = self._run("call", self.model, *self.form(sources, tokens))
        return self._must("call", self._logits("call", value, tokens.shape))

    def _must(self, method, value):
        if value is None:
            raise _Stopped(method)
        return value

    def _run(self, method, function, *inputs):
        try:
            return function(*inputs)
        except Exception as error:
            saw = f"{self.name}.{method} raised {cause_of(error)}"
            self.note(method, saw, _WANTED[method], f"change `{method}` so that it runs on them")
            raise _Stopped(method) from None

    def encode(self):
        if self.found("encode"):
            raise _Stopped("encode")
        memory = self._memory(self.given)
        for path, leaf, _ in _leaves(memory, "memory"):
            if self.declared.specs and (not is_array(leaf) or tuple(leaf.shape)[:1] != (ROWS,)):
                self.note(
                    "memory",
                    f"{self.name}.encode returned {in_short(leaf)} as {path} for {ROWS} rows",
                    f"a tensor (batch, ...), here of shape ({ROWS}, ...)",
                    "return tensors whose first axis is the batch, and nothing else",
                )

    def _memory(self, sources):
        if not self.declared.specs:
            return self._run("encode", self.model.encode)
        tensors = as_tensors(sources)
        return self._run("encode", self.model.encode, next(iter(tensors.values())) if len(tensors) == 1 else tensors)

    def steps(self):
        if self.found("initial_state", "step"):
            raise _Stopped("step")
        self.logits_of_steps = self._stepped(self._memory(self.given), self.tokens)

    def _stepped(self, memory, tokens):
        """Logits of steps that read the rows of tokens, (rows, time, vocabulary)."""
        state = self._initial_state(memory, len(tokens))
        logits = []
        for column in tokens.T:
            new, state = self._step(column, state, memory)
            logits.append(new)
        return np.stack(logits, axis=1)

    def _initial_state(self, memory, rows):
        state = self._run("initial_state", self.model.initial_state, memory, rows)
        for path, leaf, axis in _leaves(state, "state"):
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
                    "state",
                    f"{self.name}.initial_state returned {path} of shape {shape}, which grows along axis {axis}",
                    "a growing axis that begins with size 0",
                    "begin it with size 0",
                )
        return state

    def _step(self, tokens, state, memory):
        """One step's logits, (rows, vocabulary), and the new state."""
        value = self._run("step", self.model.step, ops.convert_to_tensor(tokens), state, memory)
        if not isinstance(value, list | tuple) or len(value) != 2:
            saw = f"{self.name}.step returned {in_short(value)}"
            self.note("step", saw, "the logits and the new state", "write `return logits, state`")
            raise _Stopped("step")
        logits = self._must("step", self._logits("step", value[0], tokens.shape))
        self._compare_states("step", state, value[1])
        return logits, value[1]

    def _compare_states(self, method, old, new):
        """Whether a method kept the structure, the shapes and the dtypes of a state."""
        before, after = ({path: (leaf, axis) for path, leaf, axis in _leaves(x, "state")} for x in (old, new))
        if before.keys() != after.keys():
            self.note(
                "state",
                f"{self.name}.{method} turned a state of {', '.join(before) or 'no tensors'} into one of "
                f"{', '.join(after) or 'no tensors'}",
                "the structure of initial_state",
                f"return the same structure from initial_state and {method}",
            )
            raise _Stopped(method)
        for path, (leaf, axis) in before.items():
            one, other = _described(leaf, axis), _described(after[path][0], axis)
            if one != other:
                self.note(
                    "state",
                    f"{self.name}.{method} turned {path} from {in_short(leaf)} into {in_short(after[path][0])}",
                    "that shape and dtype stay",
                    "keep them, or make that part of the state a NamedTuple with `growing_axis`, along which it grows",
                )

    # Whether its methods agree

    def at_every_position(self):
        if self.logits_of_call is None or self.logits_of_steps is None or self.found("random"):
            raise _Stopped("call")
        self._agree("call and step", "call", self.logits_of_call, "step", self.logits_of_steps, self.tokens)
        if self.found("call and step"):
            return
        ragged = np.where(within(TARGET_LENGTHS, self.declared.time), self.tokens, 0)
        called = self._called(self.given, ragged)
        mask = ragged == self.tokens
        self._agree("call and step", "call on rows padded with 0", called, "step", self.logits_of_steps, ragged, mask)

    def _agree(self, rule, one, values, other, others, tokens, mask=None):
        at = self._first_difference(values, others, mask)
        if at is None:
            return
        row, position, _ = at
        self.note(
            rule,
            f"{self.name}'s {one} and {other} differ, first at position {position} of row {row}, behind the tokens "
            f"{tokens[row, : position + 1].tolist()}: {_two(at, values, others)}",
            "the same logits at every position",
            _WHERE[rule] if position else f"{_WHERE[rule]}, and that they begin from the same state",
        )

    def _first_difference(self, values, others, mask=None):
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

    def read(self):
        if not self.model.reads_at_once or self.logits_of_steps is None:
            return
        memory = self._memory(self.given)
        for before in (0, self.declared.time // 2):  # from the initial state, and from what was read before
            read, after = self.logits_of_steps.copy(), self.logits_of_steps.copy()
            for length in range(before + 1, self.declared.time + 1):
                parts = (before, length - before) if before else (length,)
                read[:, length - 1], state = self._read(memory, parts)
                if length < self.declared.time:
                    after[:, length], _ = self._step(self.tokens[:, length], state, memory)
            self._agree("read and step", "read", read, "step", self.logits_of_steps, self.tokens)
            if not self.found("read and step"):
                one, other = "step behind a read", "step alone"
                self._agree("read and step", one, after, other, self.logits_of_steps, self.tokens)

    def _read(self, memory, parts):
        state, begin, new = self._initial_state(memory, ROWS), 0, None
        for length in parts:
            tokens = ops.convert_to_tensor(self.tokens[:, begin : begin + length])
            value = self._run("read", self.model.read, tokens, state, memory)
            if not isinstance(value, list | tuple) or len(value) != 2:
                saw = f"{self.name}.read returned {in_short(value)}"
                self.note("read", saw, "the logits and the new state", "write `return logits, state`")
                raise _Stopped("read")
            new = self._must("read", self._logits("read", value[0], (ROWS,)))
            noted = len(self.findings)
            self._compare_states("read", state, value[1])
            if len(self.findings) > noted:
                raise _Stopped("read")
            state, begin = value[1], begin + length
        return new, state

    def attention(self):
        if not self.model.has_attention or self.logits_of_steps is None:
            return
        memory, tokens = self._memory(self.given), ops.convert_to_tensor(self.tokens[:, 0])
        state = self._initial_state(memory, ROWS)
        value = self._run("step_with_attention", self.model.step_with_attention, tokens, state, memory)
        if not isinstance(value, list | tuple) or len(value) != 3:
            saw = f"{self.name}.step_with_attention returned {in_short(value)}"
            self.note("step_with_attention", saw, "logits, state and weights", "write `return logits, state, weights`")
            return
        logits = self._must("step", self._logits("step_with_attention", value[0], (ROWS,)))
        one, other = logits[:, None], self.logits_of_steps[:, :1]
        self._agree("step_with_attention", "step_with_attention", one, "step", other, self.tokens)
        weights = value[2]
        right = is_array(weights) and len(weights.shape) == 2 and weights.shape[0] == ROWS
        if not right or keras.backend.standardize_dtype(weights.dtype) != "float32":
            saw = f"{self.name}.step_with_attention returned {in_short(weights)} as weights of {ROWS} rows"
            self.note("step_with_attention", saw, "(batch, source_time) float32", "return one weight for each place")

    def rows_alone(self):
        """A row alone, without its padding, against the same row in the batch."""
        if self.found("random"):
            return
        row, padded = int(np.argmin(SOURCE_LENGTHS)), [spec.name for spec in self.declared.specs if is_padded(spec)]
        long = {name: value[row : row + 1] for name, value in self.given.items()}
        short = long | {name: long[name][:, : min(SOURCE_LENGTHS)] for name in padded}
        for method, in_batch in (("call", self.logits_of_call), ("step", self.logits_of_steps)):
            if in_batch is None:
                continue
            expected, alone = in_batch[row : row + 1], self._alone(method, row, short)
            if not self._first_difference(alone, expected):
                continue
            beside = self._alone(method, row, long)
            if at := self._first_difference(alone, beside):
                self.note(
                    "padding",
                    f"{self.name} gives a row other logits when its source is padded with 0 "
                    f"({method}: {_two(at, alone, beside)})",
                    "the same, as it stands beside longer rows",
                    "make the source's `Embedding(..., mask_zero=True)`, or give its layers `mask=source != 0`",
                )
            if at := self._first_difference(beside, expected):
                self.note(
                    "neighbours",
                    f"{self.name} gives a row other logits alone than in a batch ({method}: "
                    f"{_two(at, beside, expected)})",
                    "the same, whatever the other rows are",
                    "mix nothing along the first axis",
                )

    def _alone(self, method, row, sources):
        tokens = self.tokens[row : row + 1]
        return self._called(sources, tokens) if method == "call" else self._stepped(self._memory(sources), tokens)

    def beams(self):
        """Two beams for each source, reordered, against rows of their own with the same past."""
        wrong = self.found("state", "memory", "random", "neighbours", "shares_memory")
        if wrong or self.logits_of_steps is None or self.declared.time < 2:
            return
        past, last = self._beam_tokens()
        parents = np.array([[1, 0], [0, 0], [1, 1]], "int32")
        rows = (parents + 2 * np.arange(ROWS)[:, None]).ravel()
        memory = self._memory(self.given)
        of_beams = memory if self.model.shares_memory else widen(memory, 2)
        state = widen(self._initial_state(memory, ROWS), 2)
        before = len(self.findings)
        try:
            for column in past.T:
                _, state = self._step(column, state, of_beams)
            state = reorder(state, ops.convert_to_tensor(parents))
            logits, _ = self._step(last, state, of_beams)
            repeated = {name: value.repeat(2, axis=0) for name, value in self.given.items()}
            whole = np.concatenate([past[rows], last[:, None]], axis=1)
            expected = self._stepped(self._memory(repeated), whole)[:, -1]
            differs = self._first_difference(logits[:, None], expected[:, None])
            what = "other logits than rows of their own" if differs else None
        except Exception as error:
            what = "no logits" if isinstance(error, _Stopped) else cause_of(error)
            del self.findings[before:]
        if what:
            shares = self.model.shares_memory
            self.note(
                "beams",
                f"{self.name}'s step gives two beams for each source {what}",
                "a row's logits to depend on its own state"
                + (", and row r to read memory r // width, as shares_memory says" if shares else " and memory"),
                "write `shares_memory = False`" if shares else "keep all of a row in that row of each state's tensor",
            )

    def _beam_tokens(self):
        """What two beams for each source have read, (2 * rows, time - 1), and read next, (2 * rows,)."""
        random = np.random.default_rng(1)
        tokens = random.choice(np.unique(self.tokens), (2 * ROWS, self.declared.time)).astype("int32")
        if self.declared.start is not None:
            tokens[:, 0] = self.declared.start
        return tokens[:, :-1], tokens[:, -1]

    def config(self):
        line = "let __init__ take **kwargs, and return its other arguments from `get_config`, with super().get_config()"
        wanted = "a configuration from which a saved model is made again"
        try:
            config = json.loads(json.dumps(keras.saving.serialize_keras_object(self.model)))["config"]
            again = type(self.model).from_config(config)
        except Exception as error:
            saw = f"{self.name} can't be made from its get_config: {cause_of(error)}"
            self.note("get_config", saw, wanted, line)
            return
        for name in ("vocabulary_size", "start", "end", "max_positions", "shares_memory"):
            one, other = self.declared.attribute(name), getattr(again, name, None)
            if one != other and _listed(one) != _listed(other):
                saw = f"{self.name} made from its get_config has {name} {other!r} in place of {one!r}"
                self.note("get_config", saw, wanted, line)
                return
        if self.logits_of_call is None or self.found("random"):
            return
        try:
            again(*self.form(self.given, self.tokens))
            again.set_weights(self.model.get_weights())
            logits = _numpy(_first(again(*self.form(self.given, self.tokens)))).reshape(self.logits_of_call.shape)
            what = "gives other logits" if self._first_difference(logits, self.logits_of_call) else None
        except Exception as error:
            what = f"can't take the model's weights: {cause_of(error)}"
        if what:
            self.note("get_config", f"{self.name} made from its get_config {what}", wanted, line)


_WANTED = {
    "call": "logits of the dictionary, or tokens, that it takes",
    "encode": "the memory of the sources: one tensor, or a dictionary by name where there are several",
    "initial_state": "the state of `batch_size` rows, from the memory and `batch_size`",
    "step": "logits (batch, vocabulary) and the new state, of tokens (batch,) int32, state and memory",
    "read": "logits (batch, vocabulary) and the new state, of tokens (batch, time) int32, state and memory",
    "step_with_attention": "logits, new state and weights, of what `step` takes",
}
_WHERE = {
    "call and step": "look for what one reads and the other does not: a later token, a mask, a layer, a state",
    "read and step": "have `read` return the logits behind its last token, and the state behind all of them",
    "step_with_attention": "have `step` return the first two of what `step_with_attention` returns",
}


def _two(at, values, others):
    return f"logit {at[2]} is {values[at]:.6g} and {others[at]:.6g}"


def _leaves(part: Any, path: str, axis: Any = None) -> Iterator[tuple[str, Any, int | None]]:
    """The tensors outside of a `CachedState`, each with where it is and the axis along which it grows, if any."""
    if isinstance(part, CachedState):
        return
    growing = getattr(part, "growing_axis", None) if isinstance(part, tuple) else None
    if isinstance(part, Mapping):
        for name in sorted(part, key=str):
            yield from _leaves(part[name], f"{path}[{name!r}]", axis)
    elif growing is not None:
        axes = list(growing) if isinstance(growing, list | tuple) else None
        for i, (inner, leaf, _) in enumerate(found for j, x in enumerate(part) for found in _leaves(x, f"{path}[{j}]")):
            yield inner, leaf, growing if axes is None else axes[i] if i < len(axes) else None
    elif isinstance(part, list | tuple):
        for i, inner in enumerate(part):
            yield from _leaves(inner, f"{path}[{i}]", axis)
    else:
        yield path, part, axis


def _described(leaf, axis):
    """A tensor's sizes, without the growing one, and its dtype."""
    if not is_array(leaf):
        return None
    return [n for i, n in enumerate(leaf.shape) if i != axis], keras.backend.standardize_dtype(leaf.dtype)


def _numpy(value):
    return np.asarray(ops.convert_to_numpy(ops.cast(value, "float32")))


def _first(value):
    return value[0] if isinstance(value, list | tuple) else value


def _listed(value):
    """A tuple as JSON gives it back."""
    return list(value) if isinstance(value, list | tuple) else value


def _layers(model):
    return model._flatten_layers()
