"""`PackedCache`: KerasHub's KV cache, one tensor that its layers overwrite, as tensors of each layer that grow."""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops, tree
from keras.src.layers import layer

from tfseq.keras_versions import patched
from tfseq.layers.key_value_cache import fixed_steps

_ENTRIES = 2  # the axis of a stored tensor, (batch, heads, entries, head_dim), along which it grows
_RANK = 4  # of a stored tensor: what a packed cache has more are axes of layers, and of keys and values


class Untranslated(Exception):
    """Layers use their cache in a way that has no translation."""


class GrowingState(NamedTuple):
    """The state of a decoder whose cache KerasHub's layers read and write.

    Attributes:
        entries: keys and values of each layer, (batch, heads, entries, head_dim) each.
        carried: what keeps its shape, such as the state of a recurrent layer, (batch, ...) each.
        position: steps read so far, (batch,) int32, the same in each row.
    """

    entries: tuple[Any, ...]
    carried: tuple[Any, ...]
    position: Any

    @property
    def growing_axis(self) -> tuple[int | None, ...]:
        """Of each tensor; see `tfseq.layers.loops.while_loop`."""
        return (*[_ENTRIES] * len(self.entries), *[None] * (len(self.carried) + 1))


@dataclass(frozen=True)
class _Leaf:
    """One tensor of a packed cache.

    Attributes:
        shape: of one row, without the batch.
        time: the axis (the batch counted) that is as long as the sequence; None if there is none.
    """

    shape: tuple[int, ...]
    dtype: str
    time: int | None

    @property
    def packed(self) -> tuple[int, ...]:
        """Sizes of the axes that are taken apart: layers, keys and values."""
        return self.shape[: len(self.shape) + 1 - _RANK]

    @property
    def order(self) -> tuple[int, ...]:
        """Of the axes of what is stored, from those that KerasHub has: entries behind heads."""
        assert self.time is not None
        rest = [axis for axis in range(_RANK) if axis != self.time - len(self.packed)]
        return (rest[0], rest[1], self.time - len(self.packed), rest[2])

    @property
    def back(self) -> tuple[int, ...]:
        """The inverse of `order`."""
        return tuple(self.order.index(axis) for axis in range(_RANK))


class PackedCache:
    """The layout of a cache, found out by building it for two lengths.

    Args:
        build: (batch, length) -> the cache as KerasHub's layers take it: a pytree of `keras.KerasTensor`.
    """

    def __init__(self, build: Any):
        shapes = [build(2, length) for length in (5, 7)]
        self._structure = shapes[0]
        self._leaves = [_leaf(*pair) for pair in zip(*map(tree.flatten, shapes))]

    def empty(self, batch: Any, grows: bool = False, more: int = 0) -> GrowingState:
        """The state before the first step, of `batch` rows.

        Args:
            grows: on every backend.
            more: steps that a cache of fixed size has to have room for, beside those that the loop counts.
        """
        entries, carried = [], []
        for leaf in self._leaves:
            if leaf.time is None:
                carried.append(ops.zeros((batch, *leaf.shape), leaf.dtype))
                continue
            sizes = [(0, *leaf.shape[len(leaf.packed) :])[axis] for axis in leaf.order]
            sizes[_ENTRIES] = 0 if grows or not fixed_steps() else fixed_steps() + more  # type: ignore[operator]
            entries += [ops.zeros((batch, *sizes[1:]), leaf.dtype) for _ in range(math.prod(leaf.packed))]
        return GrowingState(tuple(entries), tuple(carried), ops.zeros((batch,), "int32"))

    def read_only(self, entries: Sequence[Any]) -> Any:
        """The cache as KerasHub's layers read one that they don't write to.

        Args:
            entries: of a `GrowingState`.
        """
        views, rest = [], list(entries)
        for leaf in self._leaves:
            cells = np.empty(leaf.packed, object)
            for index in np.ndindex(*leaf.packed):
                cells[index] = ops.transpose(rest.pop(0), leaf.back)
            views.append(_View.of(cells))
        return tree.pack_sequence_as(self._structure, views)

    def extended(
        self, state: GrowingState, steps: Any, run: Callable[[Any], tuple[Any, Any]]
    ) -> tuple[Any, GrowingState]:
        """Has KerasHub's layers read and write the state as if it were a cache with room for `steps` more.

        Args:
            run: a cache -> (outputs, the cache that the layers return).

        Returns:
            the outputs, and the state after the steps.

        Raises:
            Untranslated: the layers do something else with a cache than writing behind what it holds.
        """
        entries, carried = list(state.entries), list(state.carried)
        views = []
        for leaf in self._leaves:
            if leaf.time is None:
                views.append(carried.pop(0))
                continue
            cells = np.empty(leaf.packed, object)
            for index in np.ndindex(*leaf.packed):
                cells[index] = _Past(entries.pop(0), leaf, steps)
            views.append(_View.of(cells))
        with _written() as written:
            outputs, cache = run(tree.pack_sequence_as(self._structure, views))
        for leaf, part in zip(self._leaves, tree.flatten(cache), strict=True):
            if leaf.time is None:
                carried.append(part)
            else:
                entries += [written.stored(cell) for cell in _View.cells_of(part).ravel()]
        return outputs, GrowingState(tuple(entries), tuple(carried), state.position + steps)


def _leaf(short: Any, long: Any) -> _Leaf:
    growing = [axis for axis, sizes in enumerate(zip(short.shape, long.shape)) if sizes[0] != sizes[1]]
    if len(growing) > 1 or (growing and (len(short.shape) < _RANK or growing[0] <= len(short.shape) - _RANK)):
        raise Untranslated(f"its cache has the shape {tuple(short.shape)}, whose axes {growing} follow the length")
    dtype = keras.backend.standardize_dtype(short.dtype)
    return _Leaf(tuple(short.shape[1:]), dtype, growing[0] if growing else None)


class _Past:
    """Keys or values of one layer: what has been read, with room for the steps to come.

    Attributes:
        stored: (batch, heads, entries, head_dim).
    """

    def __init__(self, stored: Any, leaf: _Leaf, steps: Any):
        self.stored, self._leaf = stored, leaf
        self._grows = not fixed_steps() or stored.shape[_ENTRIES] == 0
        self._steps = steps if self._grows else 0

    @property
    def shape(self) -> tuple[Any, ...]:
        sizes = list(ops.shape(self.stored))
        sizes[_ENTRIES] = sizes[_ENTRIES] + self._steps
        return tuple(sizes[axis] for axis in self._leaf.back)

    def written(self, start: Sequence[Any], update: Any) -> Any:
        """All entries as the layers want them, and as they are stored: the past, and `update` at the end of it."""
        new = ops.transpose(update, self._leaf.order)
        if not self._grows:
            place = [start[axis] for axis in self._leaf.order]
            stored = _SLICE_UPDATE(self.stored, place, new)
        else:
            stored = ops.concatenate([self.stored, new], axis=_ENTRIES)
        return ops.transpose(stored, self._leaf.back), stored


class _View:
    """A packed cache, or a part of it, as an array of its layers' tensors: (batch, layers, 2, time, heads, width)."""

    def __init__(self, cells: np.ndarray):
        self.cells = cells

    @staticmethod
    def of(cells: Any) -> Any:
        """A view of several cells; of one, that itself."""
        if not isinstance(cells, np.ndarray):
            return cells
        return _View(cells) if cells.ndim else cells.item()

    @staticmethod
    def cells_of(part: Any) -> np.ndarray:
        if isinstance(part, _View):
            return part.cells
        cell = np.empty((), object)
        cell[()] = part
        return cell

    @property
    def shape(self) -> tuple[Any, ...]:
        batch, *sizes = _shape(self.cells.ravel()[0])
        return (batch, *self.cells.shape, *sizes)

    def __getitem__(self, index: Any) -> Any:
        """`cache[:, i]` and `cache[:, i, ...]`, of one layer or of keys or values."""
        rows, *others = index if isinstance(index, tuple) else (index,)
        others = [part for part in others if part is not Ellipsis]
        if rows != slice(None) or len(others) > self.cells.ndim or not all(isinstance(i, int) for i in others):
            raise Untranslated(f"its layers read their cache by {index!r}")
        return _View.of(self.cells[tuple(others)])


class _Written:
    """What layers have written: the tensors that they go on with, and what is stored of each."""

    def __init__(self) -> None:
        self._pairs: list[tuple[Any, Any]] = []

    def stored(self, part: Any) -> Any:
        """What is stored of a tensor that was written, or of one that is as it was."""
        if isinstance(part, _Past):
            return part.stored
        for given, stored in self._pairs:
            if given is part:
                return stored
        raise Untranslated("its layers return something else as their cache than keys and values")

    def _has(self, part: Any) -> bool:
        return isinstance(part, _View | _Past) or any(part is given for given, _ in self._pairs)

    def slice_update(self, inputs: Any, start_indices: Any, updates: Any) -> Any:
        if not isinstance(inputs, _Past):
            return _SLICE_UPDATE(inputs, start_indices, updates)
        given, stored = inputs.written(start_indices, updates)
        self._pairs.append((given, stored))
        return given

    def stack(self, x: Any, axis: int = 0) -> Any:
        if not all(self._has(part) for part in x):
            return _STACK(x, axis)
        if axis != 1:
            raise Untranslated(f"its layers stack their caches along axis {axis}")
        parts = [_View.cells_of(part) for part in x]
        cells = np.empty((len(parts), *parts[0].shape), object)
        for i, part in enumerate(parts):
            cells[i] = part if part.ndim else part.item()
        return _View(cells)


_SLICE_UPDATE, _STACK, _SHAPE = ops.slice_update, ops.stack, ops.shape


def _shape(x: Any) -> tuple[Any, ...]:
    return x.shape if isinstance(x, _View | _Past) else _SHAPE(x)


_IS_TENSOR = layer.is_backend_tensor_or_symbolic


def _is_tensor(x: Any, allow_none: bool = False) -> bool:
    """What layers take in one argument together with tensors."""
    return isinstance(x, _View | _Past) or _IS_TENSOR(x, allow_none)


@contextlib.contextmanager
def _written() -> Iterator[_Written]:
    """Within, KerasHub's layers take views for caches; within another such context, of both."""
    if (current := _CURRENT.get()) is not None:
        yield current
        return
    written = _Written()
    token = _CURRENT.set(written)
    patches = (
        (ops, "slice_update", written.slice_update),
        (ops, "stack", written.stack),
        (ops, "shape", _shape),
        (layer, "is_backend_tensor_or_symbolic", _is_tensor),
    )
    try:
        with patched(patches):
            yield written
    finally:
        _CURRENT.reset(token)


_CURRENT: ContextVar[_Written | None] = ContextVar("written", default=None)
