"""The signature of a model: its named inputs, and the function of them, to named outputs, that an exporter traces."""

import contextlib
import weakref
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import keras
import numpy as np

from tfseq.errors import ExportError
from tfseq.exporting.signatures.call_arguments import call_form
from tfseq.exporting.signatures.generator_inputs import source_specs, source_vocabulary_sizes
from tfseq.exporting.signatures.lookup_layers import lookup_layers
from tfseq.exporting.signatures.portable_layers import portable
from tfseq.exporting.signatures.random_numbers import (
    about_draws,
    drawn_from,
    draws_recorded,
    layers_that_matter,
    may_draw,
    seed_input,
)
from tfseq.exporting.signatures.sample_inputs import feeds
from tfseq.exporting.signatures.small_integers import clipping_casts
from tfseq.exporting.signatures.traced import Traced
from tfseq.exporting.signatures.vocabularies import Vocabulary, vocabularies
from tfseq.exporting.signatures.vocabulary_sizes import vocabulary_sizes
from tfseq.models.generator import Generator
from tfseq.runtime.manifest import TensorSpec

Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]  # runs a graph: arrays by name, in and out

TOKENS = TensorSpec("tokens", "int32", ("batch", "time"))  # what a language model reads
TARGET = TensorSpec("target", "int32", ("batch", "time"))  # what an encoder-decoder does


@dataclass(frozen=True)
class Signature:
    """A function of named tensors.

    Attributes:
        inputs: its arguments, with named axes where any size will do.
        function: takes tensors by these names, returns a dictionary of tensors.
        vocabulary_sizes: of integer inputs, whose token ids stay below: one for all, or by name where known.
        draws: sentences about the layers that draw random numbers; then the last input is their seed.
        vocabularies: what inputs are looked up in, by name.
    """

    inputs: tuple[TensorSpec, ...]
    function: Callable
    vocabulary_sizes: int | Mapping[str, int]
    draws: tuple[str, ...] = ()
    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict)

    @cached_property
    def traced(self) -> Traced:
        """The function as a graph."""
        return Traced(self.function, self.inputs)

    @property
    def sampled(self) -> tuple[TensorSpec, ...]:
        """The inputs that samples are for: all but the seed."""
        return self.inputs[:-1] if self.draws else self.inputs

    def feeds(self, samples: Any) -> list[dict[str, np.ndarray]]:
        """Sample inputs as arrays by input name, with 0 as the seed.

        Raises:
            ExportError: one of them does not fit.
        """
        seed = {self.inputs[-1].name: np.zeros((), "int32")} if self.draws else {}
        return [sample | seed for sample in feeds(samples, self.sampled)]

    def with_vocabulary_sizes(
        self, sizes: int | Mapping[str, int], vocabularies: Mapping[str, Vocabulary]
    ) -> "Signature":
        """This one, and its graph, of other vocabulary sizes, and vocabularies."""
        sized = replace(self, vocabulary_sizes=sizes, vocabularies=vocabularies)
        sized.__dict__["traced"] = self.traced
        return sized


def forward_signature(model: keras.Model, samples: Any = None) -> Signature:
    """`model(..., training=False)`.

    Args:
        samples: what the model takes, if it has not been called yet.

    Raises:
        ExportError: the model has no weights yet, or has never been called, so that its inputs are unknown.
    """
    if isinstance(model, Generator):
        if not model.built:
            raise ExportError(f"{type(model).__name__} has no weights yet; build it or call it on some data.")
        return _generator_signature(model)
    form = call_form(model, samples)
    if model in _EXAMINED:
        inputs, *found = _EXAMINED[model]
        return Signature(inputs, _call(model, form, inputs), *found)
    signature = _examined(model, form)
    _EXAMINED[model] = signature.inputs, signature.vocabulary_sizes, signature.draws, signature.vocabularies
    return signature


# The inputs of a model and what else was found out; not its graphs, which would keep the model alive.
_EXAMINED: "weakref.WeakKeyDictionary[keras.Model, tuple]" = weakref.WeakKeyDictionary()


def _examined(model, form):
    """The signature of a model that has not been seen before."""
    inputs = _named(form.inputs)
    signature = Signature(inputs, _call(model, form, inputs), {})
    integers = any(np.dtype(spec.dtype).kind in "iu" for spec in inputs if spec.dtype != "string")
    embeds = any(isinstance(layer, keras.layers.Embedding) for layer in model._flatten_layers())
    layers = lookup_layers(model)
    if not (integers or embeds or form.called_with or may_draw(model) or layers):
        return signature
    try:
        with draws_recorded() as drawn:
            sizes, only = vocabulary_sizes(signature.traced, inputs)
            known = vocabularies(signature.traced, inputs, layers)
        drawing = layers_that_matter(drawn, signature.traced.concrete.graph)
    except Exception:
        if not form.called_with:  # the conversion will say what is wrong
            return signature
        # Eager calls take sizes that a graph can't leave open, such as in a slice of a NumPy array.
        return _examined(model, replace(form.with_inputs(form.called_with), called_with=None))
    only_ids = [spec.name in only and spec.dtype == "float32" for spec in inputs]  # Keras takes them for floats
    if not (any(only_ids) or drawing):
        return signature.with_vocabulary_sizes(sizes, known)
    inputs = tuple(replace(spec, dtype="int32") if so else spec for spec, so in zip(inputs, only_ids))
    if drawing:
        inputs += (seed_input(inputs),)
    return Signature(inputs, _call(model, form, inputs), sizes, about_draws(drawing, inputs), known)


def _call(model, form, inputs):
    own, seeds = inputs[: len(form.inputs)], inputs[len(form.inputs) :]

    def function(**tensors):
        drawn = drawn_from(tensors[seeds[0].name]) if seeds else contextlib.nullcontext()
        with portable(model), clipping_casts(), drawn:
            outputs = form.call(model, [tensors[spec.name] for spec in own])
        return named_outputs(model, outputs, {spec.name for spec in inputs})

    return function


def _generator_signature(model):
    """Teacher forcing: the logits after each token, given the sources too where there are any."""
    if model.start is None:

        def function(tokens):
            with portable(model):
                return {"logits": model(tokens, training=False)}

        return Signature((TOKENS,), function, model.vocabulary_size)

    def function_of_sources(**tensors):
        with portable(model):
            return {"logits": model(tensors, training=False)}

    sizes = {**source_vocabulary_sizes(model), TARGET.name: model.vocabulary_size}
    return Signature((*source_specs(model), TARGET), function_of_sources, sizes)


def packed(model: keras.Model, feeds: Mapping[str, Any]) -> list[Any]:
    """The arguments of a model's `call` that its inputs by name stand for."""
    if isinstance(model, Generator):
        return [feeds[TOKENS.name] if model.start is None else dict(feeds)]
    form = call_form(model)
    return keras.tree.pack_sequence_as(list(form.arguments.values()), [feeds[spec.name] for spec in form.inputs])


def _named(inputs: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """The first axis is the batch; a second free one is time, of the input's own where several inputs have one."""

    def free(spec):
        return [i for i, size in enumerate(spec.shape) if i and isinstance(size, str)]

    alone = sum(bool(free(spec)) for spec in inputs) < 2

    def named(spec):
        shape = list(spec.shape)
        for axis in free(spec):
            kind = "time" if len(free(spec)) == 1 else f"axis_{axis}"
            if shape[axis] != "time":
                shape[axis] = kind if alone else f"{spec.name}_{kind}"
        return replace(spec, shape=tuple(shape))

    return tuple(map(named, inputs))


def named_outputs(model: keras.Model, outputs: Any, taken: Container[str]) -> dict[str, Any]:
    """What a model returns as tensors by name; an output that is called as an input is gets another name."""
    if isinstance(outputs, dict) and all(keras.ops.is_tensor(value) for value in outputs.values()):
        named = {str(name): tensor for name, tensor in outputs.items()}
    else:
        flat = keras.tree.flatten(outputs)
        if isinstance(model, keras.Sequential):
            names = [model.layers[-1].name]
        else:
            names = list(getattr(model, "output_names", None) or [])
        if len(names) != len(flat) or len(set(names)) != len(names):
            names = ["output"] if len(flat) == 1 else [f"output_{i + 1}" for i in range(len(flat))]
        named = dict(zip(names, flat))
    return {f"{name}_output" if name in taken else name: tensor for name, tensor in named.items()}
