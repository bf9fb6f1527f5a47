"""The arguments of a model's `call`: structure, names, dtypes and shapes, probed where Keras does not record them."""

import contextlib
import inspect
import itertools
import re
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras.src.models import Functional

from tfseq.errors import ExportError
from tfseq.exporting.signatures.sample_inputs import as_list, specs_of
from tfseq.runtime.manifest import TensorSpec

_AUTOMATIC = re.compile(r"(input_layer|keras_tensor)(_\d+)?")
GUESSED = ("float32", "int32", "string")  # types of inputs that are only known by their shapes
_OTHER_SIZE = 3  # more steps than the model was called with, to see whether it takes them


@dataclass(frozen=True)
class CallForm:
    """The arguments of a model.

    Attributes:
        arguments: structure of each, of tensors' specifications; free axes are strings.
        called_with: the inputs with the sizes that a model was called with, where others seem to do, too.
    """

    arguments: dict[str, Any]
    called_with: tuple[TensorSpec, ...] | None = None

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return tuple(keras.tree.flatten(list(self.arguments.values())))

    def with_inputs(self, inputs: Sequence[TensorSpec]) -> "CallForm":
        packed = keras.tree.pack_sequence_as(list(self.arguments.values()), list(inputs))
        return CallForm(dict(zip(self.arguments, packed)), self.called_with)

    def call(self, model: keras.Model, tensors: Sequence[Any]) -> Any:
        """The model at inference, its inputs given flat."""
        packed = keras.tree.pack_sequence_as(list(self.arguments.values()), list(tensors))
        return model(*packed, training=False)


_FOUND: "weakref.WeakKeyDictionary[keras.Model, CallForm]" = weakref.WeakKeyDictionary()


def call_form(model: keras.Model, samples: Any = None) -> CallForm:
    """How to call a model; builds one that has not been called, if there are samples.

    Sizes of declared inputs stay as they are declared, the batch among them. Where a subclassed model was only called,
    the batch is free, and so are the steps, axis 1, if the model takes another number of them.

    Args:
        samples: what the model takes: an array, a list or a dictionary of arrays, or several of these.

    Raises:
        ExportError: the inputs are unknown, or the model can't be called on the samples.
    """
    if model in _FOUND:
        return _FOUND[model]
    samples = as_list(samples)
    if isinstance(model, keras.Sequential) and not model.built and samples:
        _build_sequential(model, samples[0])
    if isinstance(model, Functional | keras.Sequential) and getattr(model, "inputs", None):
        return _declared(model)
    form = _found(model, samples)
    form = form.with_inputs(_unique_names(form))
    form = form.with_inputs(_with_needed_batch(model, form, samples))
    form = replace(form.with_inputs(_with_free_steps(model, form)), called_with=form.inputs)
    _FOUND[model] = form
    return form


def remember_call_form(model: keras.Model, form: CallForm) -> None:
    """Of a copy of the model that the form was found for."""
    _FOUND[model] = form


def build_by_call(model: keras.Model, form: CallForm) -> None:
    """Makes the weights of a model that was called and does not say how it is built, by calling it."""
    form.call(model, [keras.ops.ones(_sizes(spec), spec.dtype) for spec in form.called_with or form.inputs])


def _found(model, samples):
    if not samples:
        return _from_shapes(model)
    try:
        return _from_sample(model, samples[0])
    except ExportError:
        with contextlib.suppress(ExportError):
            return _from_shapes(model)  # then the message can say what was expected
        raise


def _declared(model):
    structure = model.inputs if isinstance(model, keras.Sequential) else [model._inputs_struct]
    if isinstance(model, keras.Sequential):
        structure = structure[:1]

    def spec(tensor):
        name = tensor._keras_history.operation.name if tensor._keras_history else tensor.name
        return TensorSpec(name, keras.backend.standardize_dtype(tensor.dtype), _named_axes(tensor.shape))

    form = CallForm({"inputs": keras.tree.map_structure(spec, structure[0])})
    names = ["" if _AUTOMATIC.fullmatch(spec.name) else spec.name for spec in form.inputs]
    if "" in names:  # Keras counts up over the whole process: another name in every program
        names = ["input"] if len(names) == 1 else [name or f"input_{i + 1}" for i, name in enumerate(names)]
    return form.with_inputs([replace(spec, name=name) for spec, name in zip(form.inputs, names)])


def _build_sequential(model, sample):
    """For any number of steps if its layers take that, else for the sample's."""
    flat = keras.tree.flatten(specs_of(sample))
    if len(flat) != 1:
        raise ExportError(f"A sequential model takes one array; the sample has {len(flat)}.")
    shape = (None, *flat[0].shape[1:])
    for steps in {None, shape[1]} if len(shape) > 1 else {None}:
        given = keras.Input(batch_shape=(None, steps, *shape[2:])[: len(shape)], dtype=flat[0].dtype)
        try:
            keras.Sequential([given, *model.layers])  # builds the layers
            break
        except Exception as error:
            problem = error
    else:
        raise ExportError(f"{model.name} can't be called on the sample: {problem}") from problem
    model.build(given.shape)


def _parameters(model) -> list[inspect.Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    named = inspect.signature(model.call).parameters.values()
    return [p for p in named if p.kind in kinds and p.name not in ("training", "mask")]


def _from_sample(model, sample):
    parameters = _parameters(model)
    required = [p.name for p in parameters if p.default is p.empty]
    names = {p.name for p in parameters}
    if isinstance(sample, dict) and (len(required) > 1 or sample.keys() <= names):
        unknown = sample.keys() - names
        missing = set(required) - sample.keys()
        if unknown or missing:
            raise ExportError(
                f"{type(model).__name__} takes {', '.join(required)}; the sample has {', '.join(map(str, sample))}."
            )
        arguments = {p.name: sample[p.name] for p in itertools.takewhile(lambda p: p.name in sample, parameters)}
    elif isinstance(sample, list | tuple) and len(sample) == len(required) > 1:
        arguments = dict(zip(required, sample))
    else:
        arguments = {(required or [parameters[0].name])[0]: sample}
    try:
        model(*keras.tree.map_structure(_tensor, list(arguments.values())), training=False)
    except Exception as error:
        raise ExportError(f"{type(model).__name__} can't be called on the sample: {error}") from error
    return CallForm({name: specs_of(value) for name, value in arguments.items()})


def _tensor(array):
    array = np.asarray(array)
    dtype = specs_of(array).dtype
    return keras.ops.convert_to_tensor(array if dtype == "string" else array.astype(dtype))


def _from_shapes(model):
    """By what Keras remembers of the first call: the shapes of the first argument, or those that `build` takes."""
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    parameters = _parameters(model)
    required = [p.name for p in parameters if p.default is p.empty] or [p.name for p in parameters[:1]]
    given = {key.removesuffix("_shape"): shape for key, shape in shapes.items()}
    if len(given) == 1:
        given = dict(zip(required, given.values()))
    name = type(model).__name__
    if not given:
        raise ExportError(
            f"{name} has never been called, so its inputs are unknown: call it once, or export it with "
            "samples=[...], what it takes."
        )
    if missing := [p for p in required if p not in given]:
        raise ExportError(
            f"Keras does not remember what {name} was called with beside {', '.join(given)}: export it with "
            f"samples=[...], dictionaries of {', '.join([*given, *missing])}."
        )
    ordered = {p.name: given[p.name] for p in parameters if p.name in given}
    form = CallForm({name: _specs(shape) for name, shape in ordered.items()})
    batches = (2, *_built_batches(model))
    for dtypes in _guesses(len(form.inputs)):  # Keras does not remember the types
        typed = form.with_inputs([replace(spec, dtype=dtype) for spec, dtype in zip(form.inputs, dtypes)])
        if any(_takes(model, typed, [_sizes(spec, batch) for spec in typed.inputs]) for batch in batches):
            return typed
    raise ExportError(f"{name} can't be called on arrays of the shapes that it was built for: {shapes}.")


def _specs(shapes: Any) -> Any:
    if isinstance(shapes, dict):
        return {key: _specs(value) for key, value in shapes.items()}
    if all(isinstance(size, int | None) for size in shapes):
        return TensorSpec("", "float32", _named_axes((None, *shapes[1:]) if shapes else ()))
    return [_specs(value) for value in shapes]


def _named_axes(shape: Sequence[int | None]) -> tuple[int | str, ...]:
    return tuple((f"axis_{i}" if i else "batch") if size is None else size for i, size in enumerate(shape))


def _guesses(count: int) -> Iterator[Sequence[str]]:
    return itertools.product(GUESSED, repeat=count) if count <= 3 else iter([[kind] * count for kind in GUESSED])


def _unique_names(form):
    """Keys of dictionaries, else the parameters' names, else input_1, ..."""
    names = []
    for parameter, structure in form.arguments.items():
        paths = [[p for p in path if isinstance(p, str)] for path, _ in keras.tree.flatten_with_path(structure)]
        names += ["_".join(path) or (parameter if len(paths) == 1 else "") for path in paths]
    names = [name or f"input_{i + 1}" for i, name in enumerate(names)]
    if len(set(names)) < len(names):
        names = [f"input_{i + 1}" for i in range(len(names))]
    return [replace(spec, name=name) for spec, name in zip(form.inputs, names)]


def _with_needed_batch(model, form, samples):
    """The batch is as large as in the first call if the model takes no other, such as where it reshapes by it."""
    batches = [np.shape(array)[0] for array in keras.tree.flatten(samples[:1]) if np.ndim(array)]
    for batch in (batches or _built_batches(model))[:1]:
        others = [other for other in (2, 3, 4) if other != batch]
        if any(_takes(model, form, [_sizes(spec, other) for spec in form.inputs]) for other in others):
            break
        fixed = [replace(x, shape=(batch, *x.shape[1:])) if x.shape[:1] == ("batch",) else x for x in form.inputs]
        if _takes(model, form, [_sizes(spec) for spec in fixed]):
            return fixed
    return form.inputs


def _built_batches(model) -> list[int]:
    """Sizes of the batch that Keras remembers of the first call."""
    shapes = keras.tree.flatten(list((getattr(model, "_build_shapes_dict", None) or {}).values()))
    return [size for size in shapes[:1] if isinstance(size, int)]


def _with_free_steps(model, form):
    """Axis 1 of each input is free if the model takes another size there, alone or together with equal ones."""
    inputs = list(form.inputs)
    sizes = [_sizes(spec) for spec in inputs]
    steps = [i for i, s in enumerate(inputs) if len(s.shape) in (2, 3, 5) and isinstance(s.shape[1], int)]
    alone = {i for i in steps if _takes_other_sizes(model, form, sizes, [i])}
    for i in alone:
        inputs[i] = _freed(inputs[i], "axis_1")
    for size in {sizes[i][1] for i in steps if i not in alone}:
        together = [i for i in steps if i not in alone and sizes[i][1] == size]
        if len(together) > 1 and _takes_other_sizes(model, form, sizes, together):
            for i in together:
                inputs[i] = _freed(inputs[i], "time")
    return inputs


def _freed(spec, axis):
    return replace(spec, shape=(spec.shape[0], axis, *spec.shape[2:]))


def _takes_other_sizes(model, form, sizes, which):
    def changed(by):
        return [(s[0], s[1] + by, *s[2:]) if i in which else s for i, s in enumerate(sizes)]

    smaller = min(sizes[i][1] for i in which) > 2  # what is 1 fits anything, by broadcasting
    return _takes(model, form, changed(_OTHER_SIZE)) or (smaller and _takes(model, form, changed(-1)))


def _takes(model, form, sizes):
    try:
        form.call(model, [_ones(shape, spec.dtype) for spec, shape in zip(form.inputs, sizes)])
    except Exception:
        return False
    return True


def _ones(shape, dtype):
    """Ones, or texts of one word."""
    return keras.ops.convert_to_tensor(np.full(shape, "a", object) if dtype == "string" else np.ones(shape, dtype))


def _sizes(spec, free=2):
    """A shape to try."""
    return tuple(free if isinstance(size, str) else size for size in spec.shape)
