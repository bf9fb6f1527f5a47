"""`check_generator` tries a `Generator` in Keras: what it declares, and whether its methods agree, before an export."""

import json
import warnings
from collections.abc import Mapping
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops

from tfseq.layers.key_value_cache import capacity, reorder, widen
from tfseq.models.checking.declaration import Declaration
from tfseq.models.checking.findings import Finding, Findings, cause_of, in_short, is_array, kind_of
from tfseq.models.checking.rows import (
    ROWS,
    SOURCE_LENGTHS,
    TARGET_LENGTHS,
    TIME,
    by_name,
    in_a_tuple,
    is_padded,
    one_by_one,
    within,
)
from tfseq.models.checking.runs import LOW_TOLERANCE, Runs, Stopped, as_array, layers_of, leaves
from tfseq.models.generator import Generator


def check_generator(model: Any, samples: Mapping[str, Any] | None = None, configuration: bool = True) -> list[Finding]:
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
        samples: sources by name, (rows, ...) each, for a model that can't read random ones.
        configuration: whether to make the copy, which takes as much memory as the model.

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
    check = _Check(model, samples or {})
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
            *((check.config,) if configuration else ()),
        ):
            try:
                part()
            except Stopped:
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


class _Check:
    """The findings so far, and what later parts of the check need of earlier ones."""

    def __init__(self, model, samples):
        self.model, self.name = model, kind_of(model)
        self.findings = Findings()
        self.note, self.found = self.findings.note, self.findings.of
        self.declared = Declaration(model, self.note)
        self.runs = Runs(model, self.declared, self.findings, samples)
        self.logits_of_call: np.ndarray | None = None
        self.logits_of_steps: np.ndarray | None = None

    # What it returns

    def call(self):
        if any(layer.compute_dtype in ("float16", "bfloat16") for layer in layers_of(self.model)):
            self.runs.tolerance = LOW_TOLERANCE
        inputs = "a dictionary of the sources and target" if self.declared.specs else "tokens (batch, time) int32"
        expected = f"next-token logits of {inputs}"
        if not defines_call(self.model):
            self.runs.draw()
            line = "define `call(self, inputs, training=False)`, which is what `fit` trains"
            self.note("call", f"{self.name} does not define call", expected, line)
            return
        first = None
        for attempt, smallest_tokens in self._attempts():
            attempt()
            for form in (by_name, *((in_a_tuple, one_by_one) if self.declared.specs else ())):
                try:
                    value = self.model(*form(self.runs.given, self.runs.tokens))
                except Exception as error:
                    first = first or error
                    continue
                if form is not by_name:
                    names = ", ".join(f'"{name}": ...' for name in (*self.runs.given, "target"))
                    taken = ", ".join(f'inputs["{name}"]' for name in (*self.runs.given, "target"))
                    takes = "a tuple" if form is in_a_tuple else "one argument for each input"
                    saw = f"{self.name}.call takes {takes} and raised {cause_of(first)} given a dictionary"
                    self.note("call", saw, f"a dictionary {{{names}}}", f"read `{taken}` in `call(self, inputs)`")
                self.runs.form = form
                self.logits_of_call = self.runs.logits("call", value, (ROWS, self.declared.time))
                if smallest_tokens and not self.found("vocabulary_size"):
                    saw = f"{self.name}.call raised {cause_of(first)} on some tokens below vocabulary_size"
                    self.note("call", saw, "that it reads all of them", "give its embedding `vocabulary_size` rows")
                self._deterministic()
                return
        self.runs.draw()
        saw = f"{self.name}.call raised {cause_of(first)}"
        self.note("call", saw, expected, "call the model on such inputs to see where")

    def _attempts(self):
        """What draws sources and tokens, each with whether the tokens are of the smallest id only."""
        draw = self.runs.draw
        yield draw, False
        if self.runs.samples:
            yield self.runs.take_samples, False
        yield partial(draw, smallest_sources=True), False
        yield partial(draw, length=64), False
        yield partial(draw, smallest_sources=True, smallest_tokens=True), True

    def _deterministic(self):
        if self.logits_of_call is None:
            return
        again = self.runs.called(self.runs.given, self.runs.tokens)
        if self.runs.first_difference(self.logits_of_call, again):
            self.note(
                "random",
                f"{self.name}.call gave different logits when called twice with the same inputs",
                "the same",
                "give dropout and other noise `training=training`, which is False but in training",
            )

    def encode(self):
        if self.found("encode"):
            raise Stopped("encode")
        memory = self.runs.memory(self.runs.given)
        for path, leaf, _ in leaves(memory, "memory"):
            if self.declared.specs and (not is_array(leaf) or tuple(leaf.shape)[:1] != (ROWS,)):
                self.note(
                    "memory",
                    f"{self.name}.encode returned {in_short(leaf)} as {path} for {ROWS} rows",
                    f"a tensor (batch, ...), here of shape ({ROWS}, ...)",
                    "return tensors whose first axis is the batch, and nothing else",
                )

    def steps(self):
        if self.found("initial_state", "step"):
            raise Stopped("step")
        self.logits_of_steps = self.runs.stepped(self.runs.memory(self.runs.given), self.runs.tokens)

    # Whether its methods agree

    def at_every_position(self):
        if self.logits_of_call is None or self.logits_of_steps is None or self.found("random"):
            raise Stopped("call")
        self._agree("call and step", "call", self.logits_of_call, "step", self.logits_of_steps, self.runs.tokens)
        if self.found("call and step"):
            return
        ragged = np.where(within(TARGET_LENGTHS, self.declared.time), self.runs.tokens, 0)
        called = self.runs.called(self.runs.given, ragged)
        mask = ragged == self.runs.tokens
        self._agree("call and step", "call on rows padded with 0", called, "step", self.logits_of_steps, ragged, mask)

    def _agree(self, rule, one, values, other, others, tokens, mask=None):
        at = self.runs.first_difference(values, others, mask)
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

    def read(self):
        if not self.model.reads_at_once or self.logits_of_steps is None:
            return
        memory = self.runs.memory(self.runs.given)
        for before in (0, self.declared.time // 2):  # from the initial state, and from what was read before
            read, after = self.logits_of_steps.copy(), self.logits_of_steps.copy()
            for length in range(before + 1, self.declared.time + 1):
                parts = (before, length - before) if before else (length,)
                read[:, length - 1], state = self._read(memory, parts)
                if length < self.declared.time:
                    after[:, length], _ = self.runs.step(self.runs.tokens[:, length], state, memory)
            self._agree("read and step", "read", read, "step", self.logits_of_steps, self.runs.tokens)
            if not self.found("read and step"):
                one, other = "step behind a read", "step alone"
                self._agree("read and step", one, after, other, self.logits_of_steps, self.runs.tokens)

    def _read(self, memory, parts):
        state, begin, new = self.runs.initial_state(memory, ROWS), 0, None
        for length in parts:
            tokens = ops.convert_to_tensor(self.runs.tokens[:, begin : begin + length])
            value = self.runs.run("read", self.model.read, tokens, state, memory)
            if not isinstance(value, list | tuple) or len(value) != 2:
                saw = f"{self.name}.read returned {in_short(value)}"
                self.note("read", saw, "the logits and the new state", "write `return logits, state`")
                raise Stopped("read")
            new = self.runs.must("read", self.runs.logits("read", value[0], (ROWS,)))
            noted = len(self.findings)
            self.runs.compare_states("read", state, value[1])
            if len(self.findings) > noted:
                raise Stopped("read")
            state, begin = value[1], begin + length
        return new, state

    def attention(self):
        if not self.model.has_attention or self.logits_of_steps is None:
            return
        memory, tokens = self.runs.memory(self.runs.given), ops.convert_to_tensor(self.runs.tokens[:, 0])
        state = self.runs.initial_state(memory, ROWS)
        value = self.runs.run("step_with_attention", self.model.step_with_attention, tokens, state, memory)
        if not isinstance(value, list | tuple) or len(value) != 3:
            saw = f"{self.name}.step_with_attention returned {in_short(value)}"
            self.note("step_with_attention", saw, "logits, state and weights", "write `return logits, state, weights`")
            return
        logits = self.runs.must("step", self.runs.logits("step_with_attention", value[0], (ROWS,)))
        one, other = logits[:, None], self.logits_of_steps[:, :1]
        self._agree("step_with_attention", "step_with_attention", one, "step", other, self.runs.tokens)
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
        long = {name: value[row : row + 1] for name, value in self.runs.given.items()}
        short = long | {name: long[name][:, : min(SOURCE_LENGTHS)] for name in padded}
        for method, in_batch in (("call", self.logits_of_call), ("step", self.logits_of_steps)):
            if in_batch is None:
                continue
            expected, alone = in_batch[row : row + 1], self._alone(method, row, short)
            if not self.runs.first_difference(alone, expected):
                continue
            beside = self._alone(method, row, long)
            if at := self.runs.first_difference(alone, beside):
                self.note(
                    "padding",
                    f"{self.name} gives a row other logits when its source is padded with 0 "
                    f"({method}: {_two(at, alone, beside)})",
                    "the same, as it stands beside longer rows",
                    "make the source's `Embedding(..., mask_zero=True)`, or give its layers `mask=source != 0`",
                )
            if at := self.runs.first_difference(beside, expected):
                self.note(
                    "neighbours",
                    f"{self.name} gives a row other logits alone than in a batch ({method}: "
                    f"{_two(at, beside, expected)})",
                    "the same, whatever the other rows are",
                    "mix nothing along the first axis",
                )

    def _alone(self, method, row, sources):
        tokens = self.runs.tokens[row : row + 1]
        return (
            self.runs.called(sources, tokens)
            if method == "call"
            else self.runs.stepped(self.runs.memory(sources), tokens)
        )

    def beams(self):
        """Two beams for each source, reordered, against rows of their own with the same past."""
        wrong = self.found("state", "memory", "random", "neighbours", "shares_memory")
        if wrong or self.logits_of_steps is None or self.declared.time < 2:
            return
        past, last = self._beam_tokens()
        parents = np.array([[1, 0], [0, 0], [1, 1]], "int32")
        rows = (parents + 2 * np.arange(ROWS)[:, None]).ravel()
        memory = self.runs.memory(self.runs.given)
        of_beams = memory if self.model.shares_memory else widen(memory, 2)
        state = widen(self.runs.initial_state(memory, ROWS), 2)
        before = len(self.findings)
        try:
            for column in past.T:
                _, state = self.runs.step(column, state, of_beams)
            state = reorder(state, ops.convert_to_tensor(parents))
            logits, _ = self.runs.step(last, state, of_beams)
            repeated = {name: value.repeat(2, axis=0) for name, value in self.runs.given.items()}
            whole = np.concatenate([past[rows], last[:, None]], axis=1)
            expected = self.runs.stepped(self.runs.memory(repeated), whole)[:, -1]
            differs = self.runs.first_difference(logits[:, None], expected[:, None])
            what = "other logits than rows of their own" if differs else None
        except Exception as error:
            what = "no logits" if isinstance(error, Stopped) else cause_of(error)
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
        tokens = random.choice(np.unique(self.runs.tokens), (2 * ROWS, self.declared.time)).astype("int32")
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
        inputs = self.runs.form(self.runs.given, self.runs.tokens)
        try:
            again(*inputs)
            again.set_weights(self.model.get_weights())
            logits = as_array(_first(again(*self.runs.form(self.runs.given, self.runs.tokens)))).reshape(
                self.logits_of_call.shape
            )
            what = "gives other logits" if self.runs.first_difference(logits, self.logits_of_call) else None
        except Exception as error:
            what = f"can't take the model's weights: {cause_of(error)}"
        if what:
            self.note("get_config", f"{self.name} made from its get_config {what}", wanted, line)


_WHERE = {
    "call and step": "look for what one reads and the other does not: a later token, a mask, a layer, a state",
    "read and step": "have `read` return the logits behind its last token, and the state behind all of them",
    "step_with_attention": "have `step` return the first two of what `step_with_attention` returns",
}


def _two(at, values, others):
    return f"logit {at[2]} is {values[at]:.6g} and {others[at]:.6g}"


def defines_call(model: Generator) -> bool:
    """Whether it can be called on whole sequences."""
    return type(model).call is not keras.Model.call


def _first(value):
    return value[0] if isinstance(value, list | tuple) else value


def _listed(value):
    """A tuple as JSON gives it back."""
    return list(value) if isinstance(value, list | tuple) else value
