"""The registry of example models, and random inputs that suit them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

Draw = Callable[[np.random.Generator, Mapping[str, int]], np.ndarray]


@dataclass(frozen=True)
class Example:
    """A model and how it is fed.

    Attributes:
        name: of the function that builds it.
        build: makes the model.
        inputs: by the name that the exported input has to have, in the model's order; a dictionary's are sorted.
        given: how the model takes several inputs: "by name" (functional models, dictionaries), as a "list", or as
            "arguments" of `call`.
        outputs: the names that the exported outputs have to have; None for those of a functional model.
        loop: why the exported graph keeps a Loop; empty if it must not.
        shortest: the least number of time steps that the model takes.
    """

    name: str
    build: Callable[[], keras.Model]
    inputs: Mapping[str, Draw]
    given: str
    outputs: tuple[str, ...] | None
    loop: str
    shortest: int

    def draw(self, batch: int, time: int, seed: int = 0) -> dict[str, np.ndarray]:
        """Realistic inputs by name: padded on the right, ids within the vocabulary."""
        random = np.random.default_rng(seed)
        sizes = {"batch": batch, "time": time, "source_time": time, "target_time": time + 2}
        return {name: draw(random, sizes) for name, draw in self.inputs.items()}

    def call(self, model: keras.Model, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What the Keras model gives, by name if it names its outputs itself, else by number."""
        values: Any = list(feeds.values())
        if self.given == "arguments" or len(values) == 1:
            outputs = model(*values, training=False)
        else:
            outputs = model(dict(feeds) if self.given == "by name" else values, training=False)
        if not isinstance(outputs, dict):
            outputs = {str(i): tensor for i, tensor in enumerate(keras.tree.flatten(outputs))}
        return {name: keras.ops.convert_to_numpy(tensor) for name, tensor in outputs.items()}


EXAMPLES: dict[str, Example] = {}


def example(
    inputs: Mapping[str, Draw],
    *,
    given: str = "by name",
    outputs: tuple[str, ...] | None = None,
    loop: str = "",
    shortest: int = 1,
) -> Callable[[Callable[[], keras.Model]], Callable[[], keras.Model]]:
    """Registers the function below it."""

    def register(build):
        assert build.__name__ not in EXAMPLES
        EXAMPLES[build.__name__] = Example(build.__name__, build, inputs, given, outputs, loop, shortest)
        return build

    return register


def floats(*shape: int | str) -> Draw:
    """Standard normal, (batch, *shape)."""
    return lambda random, sizes: random.normal(size=_shape(shape, sizes)).astype("float32")


def pixels(*shape: int | str) -> Draw:
    """From 0 to 1, (batch, *shape)."""
    return lambda random, sizes: random.random(_shape(shape, sizes)).astype("float32")


def integers(high: int, *shape: int | str, dtype: str = "int32") -> Draw:
    """From 0 to high - 1, (batch, *shape)."""
    return lambda random, sizes: random.integers(0, high, _shape(shape, sizes)).astype(dtype)


def tokens(vocabulary: int, time: int | str = "time", dtype: str = "int32") -> Draw:
    """Sentences of random lengths, padded with 0, (batch, time)."""

    def draw(random, sizes):
        shape = _shape((time,), sizes)
        return (random.integers(1, vocabulary, shape) * _padding(random, shape)).astype(dtype)

    return draw


def padded(time: int | str, *shape: int) -> Draw:
    """Normal, with steps of zeros after a random length, (batch, time, *shape)."""

    def draw(random, sizes):
        values = random.normal(size=_shape((time, *shape), sizes)).astype("float32")
        return values * _padding(random, values.shape[:2]).reshape(values.shape[:2] + (1,) * len(shape))

    return draw


def one_hot(vocabulary_size: int, time: int | str = "time") -> Draw:
    """(batch, time, vocabulary_size)."""

    def drawn(random, sizes):
        return np.eye(vocabulary_size, dtype="float32")[random.integers(0, vocabulary_size, _shape((time,), sizes))]

    return drawn


def padding_mask(time: int | str = "time", dtype: str = "bool") -> Draw:
    """True where a step is real, (batch, time)."""
    return lambda random, sizes: _padding(random, _shape((time,), sizes)).astype(dtype)


def _shape(shape, sizes):
    return (sizes["batch"], *(sizes[size] if isinstance(size, str) else size for size in shape))


def _padding(random, shape):
    batch, time = shape
    lengths = random.integers(1, time + 1, (batch, 1))
    return (np.arange(time) < lengths).astype("int32")
