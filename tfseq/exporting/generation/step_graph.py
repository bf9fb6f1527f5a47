"""The decode step as a graph: tokens and states (recurrent, or a KV cache) in, the next tokens and new states out.

Its caller runs the loop, and so can show each token as it comes, or stop whenever it likes. An encoder-decoder's
memory is one of the states: the step at position 0 computes it, the others hand it on. A language model that defines
`read` takes as many tokens as there are to read: one goes through its `step`, several at once through `read`.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from keras import ops, tree

from tfseq.decoding import Strategy, decode_step
from tfseq.errors import ExportError
from tfseq.exporting.signatures.generator_inputs import encoded, source_length, source_specs, source_vocabulary_sizes
from tfseq.exporting.signatures.portable_layers import portable
from tfseq.exporting.signatures.random_inputs import draw
from tfseq.exporting.signatures.signature import Signature
from tfseq.models.generator import Generator
from tfseq.runtime.manifest import StateSpec, TensorSpec

TOKENS = TensorSpec("tokens", "int32", ("batch",))
TOKENS_AT_ONCE = TensorSpec("tokens", "int32", ("batch", "time"))
POSITION = TensorSpec("position", "int32", ())
MAX_LENGTH = TensorSpec("max_length", "int32", ())
INDEX = TensorSpec("index", "int32", ())
CHOSEN = TensorSpec("chosen", "int32", ("batch",))
LOG_PROBABILITY = TensorSpec("log_probability", "float32", ("batch",))
_SIZES = ((2, 3), (3, 5))  # batch and source length, to see which axis is which


@dataclass(frozen=True)
class StepGraph:
    """One decode step of a generator under a decoding strategy.

    Attributes:
        signature: of `tokens` just read, (batch,) or several at once, (batch, time); `position` in the sequence, of the
            first of them; `index` (new tokens so far; negative before the prompt's last token); the strategy's
            settings (and `max_length` if it looks at that), the sources, the states.
        states: what connects one step to the next.
        outputs: the tokens `chosen` and their `log_probability`, then the new states.
    """

    signature: Signature
    states: tuple[StateSpec, ...]
    outputs: tuple[TensorSpec, ...]


def step_graph(model: Generator, strategy: Strategy) -> StepGraph:
    """The graph of one decode step.

    Args:
        model: built.
        strategy: one that keeps a single sequence per row; not `Beam`.

    Raises:
        ExportError: a state has no axis for the batch where it should have one.
    """
    parts = _Parts(model, strategy)
    sources = () if model.start is None else source_specs(model)
    at_once = model.start is None and model.reads_at_once and not strategy.sees_hidden
    counted = (MAX_LENGTH,) if strategy.counts_tokens else ()
    settings = {name: TensorSpec(name, dtype, ()) for name, dtype in strategy.dtypes(model).items()}

    def step(tokens, position, index, **given):
        with portable(model):
            rules_state, state, memory = parts.packed([given[spec.name] for spec in parts.specs])
            if sources:
                state, memory = _begun(model, position, {s.name: given[s.name] for s in sources}, state, memory)
            run = partial(decode_step, model, strategy)
            values = {name: given[name] for name in settings}
            arguments = tokens, position, index, rules_state, state, memory, values, given.get(MAX_LENGTH.name, ())
            chosen, log_prob, *after = _step_or_read(run, *arguments) if at_once else run(*arguments)
        new = tree.flatten((*after, memory))
        return {
            "chosen": chosen,
            "log_probability": log_prob,
            **{_next(spec.name): value for spec, value in zip(parts.specs, new)},
        }

    read = TOKENS_AT_ONCE if at_once else TOKENS
    inputs = (read, POSITION, INDEX, *counted, *settings.values(), *sources, *parts.specs)
    states = tuple(StateSpec(spec.name, _next(spec.name), first) for spec, first in zip(parts.specs, parts.first))
    outputs = (CHOSEN, LOG_PROBABILITY, *map(_after, parts.specs))
    sizes = {read.name: model.vocabulary_size, **(source_vocabulary_sizes(model) if sources else {})}
    return StepGraph(Signature(inputs, step, sizes), states, outputs)


def _begun(model, position, sources, state, memory):
    """State and memory as they are, or at position 0 those that the sources give."""
    given = tree.flatten((state, memory))

    def begin():  # a converter forgets the shapes of what a branch is given
        memory = encoded(model, {name: _with_shape(source, source.shape) for name, source in sources.items()})
        first = model.initial_state(memory, ops.shape(next(iter(sources.values())))[0])
        return tree.flatten((first, memory))

    chosen = ops.cond(ops.equal(position, 0), begin, lambda: given)
    chosen = [_with_shape(x, like.shape) for x, like in zip(chosen, given)]
    return tree.pack_sequence_as((state, memory), chosen)


def _step_or_read(run, tokens, *given):
    """`run` on one token of each row by the model's `step`, which is quicker, and on several by its `read`.

    Args:
        run: (tokens, *given) -> a pytree; it takes tokens (batch,) and (batch, time).
    """

    def branch(of_tokens):
        def made():  # a converter forgets the shapes of what a branch is given
            own = tree.map_structure(lambda x: _with_shape(x, x.shape), (tokens, *given))
            return run(of_tokens(own[0]), *own[1:])

        return made

    one = ops.equal(ops.shape(tokens)[1], 1)
    return ops.cond(one, branch(lambda tokens: tokens[:, 0]), branch(lambda tokens: tokens))


def _with_shape(tensor, shape):
    import tensorflow as tf  # an exporter has it

    return tf.ensure_shape(tensor, shape)


class _Parts:
    """What a step hands on: the rules' state, the model's, and the memory of an encoder-decoder.

    Attributes:
        specs: of each tensor in it.
        first: what each is before the first step; 0 where the first step computes it.
    """

    def __init__(self, model: Generator, strategy: Strategy):
        runs = [_first_steps(model, strategy, batch, length) for batch, length in _SIZES]
        self._structure = runs[0][0]
        names = _names(self._structure)
        variants = [[ops.convert_to_numpy(x) for x in tree.flatten(parts)] for run in runs for parts in run]
        self.specs = tuple(_spec(name, *values) for name, *values in zip(names, *variants))
        computed = model.start is not None
        self.first = [
            0 if computed and not name.startswith("rules") else _constant(spec, value)
            for name, spec, value in zip(names, self.specs, variants[0])
        ]

    def packed(self, tensors: Sequence[Any]) -> Any:
        return tree.pack_sequence_as(self._structure, list(tensors))


def _first_steps(model, strategy, batch, length):
    """(rules' state, state, memory) before and after a step."""
    if model.start is None:
        memory = ()
    else:
        sizes, longest = source_vocabulary_sizes(model), source_length(model, length)
        sources = draw(source_specs(model), sizes, batch, longest)
        memory = encoded(model, {name: ops.convert_to_tensor(value) for name, value in sources.items()})
    with portable(model):
        state = model.initial_state(memory, batch)
        rules_state = strategy.first_rules_state(model, batch)
        tokens, place = ops.zeros((batch,), "int32"), ops.convert_to_tensor(np.int32(0))
        values = {name: ops.convert_to_tensor(spec.default, spec.dtype) for name, spec in strategy.specs(model).items()}
        *_, rules_after, after = decode_step(
            model, strategy, tokens, place, place, rules_state, state, memory, values, place
        )
    return (rules_state, state, memory), (rules_after, after, memory)


def _names(structure) -> list[str]:
    names = []
    for part, values in zip(("rules", "state", "memory"), structure):
        count = len(tree.flatten(values))
        names += [f"{part}_{i + 1}" for i in range(count)] if count > 1 else [part] * count
    return names


def _spec(name, small, small_after, large, large_after) -> TensorSpec:
    """By the sizes that a state has for two batches, before and after a step."""
    sizes = list(itertools.zip_longest(small.shape, small_after.shape, large.shape, large_after.shape))  # by axis
    batches = [batch for batch, _ in _SIZES for _ in "ba"]
    if small.dtype != small_after.dtype or any(None in axis for axis in sizes) or (sizes and list(sizes[0]) != batches):
        raise ExportError(
            f"The {name} goes from {small.dtype} {small.shape} to {small_after.dtype} {small_after.shape} with "
            f"{_SIZES[0][0]} rows; expected the same type, and the rows as its first axis."
        )
    free = "entries" if name.startswith("state") else f"{name}_axis_{{}}"
    shape = (axis[0] if len(set(axis)) == 1 else free.format(i) for i, axis in enumerate(sizes) if i)
    return TensorSpec(name, str(small.dtype), ("batch", *shape) if sizes else ())


def _constant(spec: TensorSpec, value: np.ndarray) -> Any:
    """The one row of all first states, as a manifest has it."""
    if spec.shape:
        if (value != value[:1]).any():
            raise ExportError(f"The {spec.name} starts from another value in each row, which no file can hold.")
        value = value[0]
    return value.tolist() if value.any() else 0


def _after(spec: TensorSpec) -> TensorSpec:
    shape = tuple(f"{size}_next" if isinstance(size, str) and size != "batch" else size for size in spec.shape)
    return replace(spec, name=_next(spec.name), shape=shape)


def _next(name: str) -> str:
    return f"{name}_next"
