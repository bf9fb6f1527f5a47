"""Random numbers that a model draws at inference: found in its trace, and drawn from an input `seed` instead.

A file has no state to draw from, so each draw becomes a hash of the seed, the draw's place in the call and the number's
place in the draw (`tfseq.decoding.random`). The model gives the same numbers where it runs with the same functions.
"""

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from keras.random import SeedGenerator
from keras.src.backend.common import global_state
from tensorflow.python.ops.control_flow_v2_func_graphs import WhileBodyFuncGraph

from tfseq.decoding.random import draw_keys, gumbel, lowbias32, uniform
from tfseq.errors import ExportError
from tfseq.runtime.manifest import TensorSpec

_OWN = ("keras.src.", "tfseq.layers.", "tfseq.models.")  # their layers draw in training alone


_NAMES = ("seed", "random_seed", "random_seed_2")


def seed_input(taken: Sequence[TensorSpec]) -> TensorSpec:
    """The input that chooses the numbers, by a name that no other input has."""
    names = {spec.name for spec in taken}
    return TensorSpec(next(name for name in _NAMES if name not in names), "int32", ())


def is_seed(spec: TensorSpec) -> bool:
    """Whether an input of a file is one that this module added."""
    return spec.name in _NAMES and spec.dtype == "int32" and spec.shape == ()


def may_draw(model: keras.Model) -> bool:
    """Whether a layer could draw random numbers at inference: one of the user's own."""
    return any(
        not type(layer).__module__.startswith(_OWN) or isinstance(layer, keras.layers.Lambda)
        for layer in model._flatten_layers()
    )


@contextlib.contextmanager
def draws_recorded() -> Iterator[dict[str, list[Any]]]:
    """Within, draws are as ever; yields what each layer drew, in order, by "name (class)"."""
    layers: dict[str, list[Any]] = {}

    def recorded(usual: Callable, _: str) -> Callable:
        def draw(*args: Any, **kwargs: Any) -> Any:
            drawn = usual(*args, **kwargs)
            layers.setdefault(_drawing_layer(), []).append(drawn)
            return drawn

        return draw

    with _patched(recorded):
        yield layers


def layers_that_matter(drawn: Mapping[str, Sequence[Any]], graph: Any) -> list[str]:
    """Those whose numbers the outputs of a traced graph depend on.

    Recurrent layers with `recurrent_dropout` draw masks at inference, too, and use none.
    """
    behind, waiting = set(), [tensor.op for tensor in graph.outputs]
    while waiting:
        operation = waiting.pop()
        if operation not in behind:
            behind.add(operation)
            waiting += [tensor.op for tensor in operation.inputs] + list(operation.control_inputs)

    def matters(tensor: Any) -> bool:
        return getattr(tensor, "graph", None) is not graph or tensor.op in behind  # that of a loop: nobody knows

    return [layer for layer, tensors in drawn.items() if any(map(matters, tensors))]


def about_draws(layers: Sequence[str], inputs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """A sentence about each layer that draws; the last input is the seed."""
    return tuple(
        f"{layer} draws random numbers at inference, which the input {inputs[-1].name} chooses. If it is to draw in "
        "training only, let its call look at `training`."
        for layer in layers
    )


@contextlib.contextmanager
def drawn_from(seed: Any) -> Iterator[None]:
    """Within, random numbers are those of a seed, () int32, from the first draw on.

    Raises:
        ExportError: a draw is of a kind that has no such form, or is made in a loop, whose steps would all draw the
            same.
    """
    draws = 0

    def replaced(usual: Callable, name: str) -> Callable:
        signature = inspect.signature(usual)

        def draw(*args: Any, **kwargs: Any) -> Any:
            nonlocal draws
            if name not in _DRAWS:
                what = name.replace("stateless_", "").replace("experimental.", "").replace("_", " ")
                raise ExportError(
                    f"{_drawing_layer()} draws random numbers of a kind that a file can't ({what}): draw them by "
                    "uniform, normal, truncated_normal, randint, categorical or dropout."
                )
            if isinstance(tf.compat.v1.get_default_graph(), WhileBodyFuncGraph):
                raise ExportError(
                    f"{_drawing_layer()} draws random numbers in each step of a loop, which a file can't: draw all of "
                    "them before the loop."
                )
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            source = _Source(draw_keys(seed, np.zeros(1, "int32"), np.array([draws], "int32"))[0, 0, 0])
            draws += 1
            return _DRAWS[name](source, given.arguments)

        return draw

    with (
        _patched(replaced),
        mock.patch.object(SeedGenerator, "next", return_value=tf.zeros(2, "int64")),
    ):
        yield


@contextlib.contextmanager
def _patched(patch: Callable[[Callable, str], Callable]) -> Iterator[None]:
    with contextlib.ExitStack() as patches:
        for name in (*_DRAWS, *_OTHERS):
            *path, last = name.split(".")
            module = tf.random if path[:1] != ["nn"] else tf
            for part in path:
                module = getattr(module, part)
            patches.enter_context(mock.patch.object(module, last, patch(getattr(module, last), name)))
        yield


def _drawing_layer() -> str:
    """The innermost layer that is being called."""
    callers = [scope.caller for scope in global_state.get_global_attribute("name_scope_stack", default=[])]
    layer = next((caller for caller in reversed(callers) if isinstance(caller, keras.Layer)), None)
    return "The model" if layer is None else f"The layer {layer.name} ({type(layer).__name__})"


class _Source:
    """The numbers of one draw.

    Args:
        key: () uint32.
    """

    def __init__(self, key: Any):
        self.key = key

    def bits(self, shape: Any, stream: int = 0) -> Any:
        """32 random bits for each place, uint32.

        Args:
            stream: of several draws from one source.
        """
        shape = tf.cast(shape, tf.int32)
        places = tf.reshape(tf.range(tf.reduce_prod(shape)), shape)
        key = lowbias32(tf.bitwise.bitwise_xor(self.key, np.uint32(stream * 0x9E3779B9 & 0xFFFFFFFF)))
        return lowbias32(tf.bitwise.bitwise_xor(key, lowbias32(tf.cast(places, tf.uint32))))

    def uniform(self, shape: Any, stream: int = 0) -> Any:
        """float32 strictly between 0 and 1."""
        return uniform(self.bits(shape, stream))


def _uniform(source: _Source, given: Mapping[str, Any]) -> Any:
    dtype = tf.as_dtype(given["dtype"])
    low, high = given["minval"], given["maxval"]
    high = 1 if high is None else high
    if dtype.is_integer:
        low, high = (tf.cast(x, tf.int64) for x in (low, high))
        return tf.cast(low + tf.math.floormod(tf.cast(source.bits(given["shape"]), tf.int64), high - low), dtype)
    low, high = (tf.cast(x, dtype) for x in (low, high))
    return low + (high - low) * tf.cast(source.uniform(given["shape"]), dtype)


def _normal(source: _Source, given: Mapping[str, Any]) -> Any:
    """By two uniform numbers (Box and Muller, 1958)."""
    shape = given["shape"]
    radius = tf.sqrt(-2.0 * tf.math.log(source.uniform(shape)))
    return _scaled(radius * tf.cos(2 * math.pi * source.uniform(shape, 1)), given)


def _truncated_normal(source: _Source, given: Mapping[str, Any]) -> Any:
    """Up to two standard deviations, by the inverse of the distribution function."""
    within = math.erf(2 / math.sqrt(2))
    return _scaled(math.sqrt(2) * tf.math.erfinv((2 * source.uniform(given["shape"]) - 1) * within), given)


def _scaled(numbers: Any, given: Mapping[str, Any]) -> Any:
    dtype = tf.as_dtype(given["dtype"])
    mean, deviation = (tf.cast(given[name], dtype) for name in ("mean", "stddev"))
    return mean + deviation * tf.cast(numbers, dtype)


def _categorical(source: _Source, given: Mapping[str, Any]) -> Any:
    """The largest logit once Gumbel noise is added."""
    logits = tf.cast(given["logits"], tf.float32)
    batch, classes = tf.unstack(tf.shape(logits))
    noise = gumbel(source.bits(tf.stack([batch, given["num_samples"], classes])))
    return tf.argmax(logits[:, None] + noise, -1, output_type=given["dtype"] or tf.int64)


def _dropout(source: _Source, given: Mapping[str, Any]) -> Any:
    x = tf.convert_to_tensor(given["x"])
    rate = tf.cast(given["rate"], tf.float32)
    sizes = given["noise_shape"]
    if sizes is None:
        sizes = tf.shape(x)
    elif not tf.is_tensor(sizes):
        sizes = tf.stack([tf.shape(x)[i] if size is None else size for i, size in enumerate(sizes)])
    kept = source.uniform(sizes) >= rate
    return tf.where(kept, x / tf.cast(1 - rate, x.dtype), tf.zeros((), x.dtype))


_DRAWS = {
    "uniform": _uniform,
    "stateless_uniform": _uniform,
    "normal": _normal,
    "stateless_normal": _normal,
    "truncated_normal": _truncated_normal,
    "stateless_truncated_normal": _truncated_normal,
    "categorical": _categorical,
    "stateless_categorical": _categorical,
    "nn.dropout": _dropout,
    "nn.experimental.stateless_dropout": _dropout,
}
_OTHERS = (
    "gamma",
    "stateless_gamma",
    "poisson",
    "stateless_poisson",
    "stateless_binomial",
    "shuffle",
    "experimental.stateless_shuffle",
)
