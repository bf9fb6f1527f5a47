"""KV cache of self-attention: keys and values of past steps, so that a decode step computes those of one token only.

Beams share a cache. When a search drops a beam and doubles another, nothing is moved: every beam's entries stay where
they were written, and a mask, `ancestors`, says which of them are a beam's own past. A decode step writes `width`
entries, one for each beam.

On TensorFlow a cache grows by one concatenation per step, which becomes ONNX's `Attention` with `past_key`. Backends
whose shapes are fixed when a loop is compiled (JAX) write into caches of a `capacity`. Models see no difference.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import keras
from keras import ops, tree

from tfseq.layers.attention import dot_product_attention, merge_heads
from tfseq.layers.loops import take_rows

_CAPACITY: ContextVar[int | None] = ContextVar("capacity", default=None)


class CachedState(NamedTuple):
    """The KV cache of all layers: the state of a decoder with self-attention.

    Attributes:
        caches: of each layer keys and values, (batch, heads, entries, head_dim) each.
        ancestors: True where an entry is a beam's past, (batch, width, entries); () where there is one beam and all
            entries are its past.
        position: steps read so far, () int32.
    """

    caches: tuple[tuple[Any, Any], ...]
    ancestors: Any
    position: Any

    @property
    def growing_axis(self) -> int:
        """The axis of every leaf along which a step adds entries; see `tfseq.layers.loops.while_loop`."""
        return 2

    @property
    def width(self) -> int:
        """Number of beams."""
        return 1 if isinstance(self.ancestors, tuple) else self.ancestors.shape[1]

    @property
    def mask(self) -> Any:
        """The attention mask of each beam, (batch, 1, width, entries); None for everywhere."""
        return None if isinstance(self.ancestors, tuple) else ops.expand_dims(self.ancestors, 1)


def empty_cached_state(layers: int, batch_size: Any, heads: int, head_dim: int, dtype: str = "float32") -> CachedState:
    """The state before the first step, of one beam."""
    steps = fixed_steps()
    entries = steps or 0
    caches = tuple(
        (
            ops.zeros((batch_size, heads, entries, head_dim), dtype),
            ops.zeros((batch_size, heads, entries, head_dim), dtype),
        )
        for _ in range(layers)
    )
    ancestors = ops.zeros((batch_size, 1, steps), "bool") if steps else ()
    return CachedState(caches, ancestors, ops.convert_to_tensor(0, "int32"))


@contextmanager
def capacity(steps: int) -> Iterator[None]:
    """Caches that are made and used in this context have room for so many steps; on TensorFlow they grow instead.

    Raises:
        ValueError: there is no room for one step.
    """
    if steps < 1:
        raise ValueError(f"capacity is {steps}; expected at least 1 step.")
    token = _CAPACITY.set(steps)
    try:
        yield
    finally:
        _CAPACITY.reset(token)


def advance(state: CachedState, steps: Any = 1) -> CachedState:
    """Makes this step's entries part of the past: once per step, before the layers `attend`.

    Args:
        state: as the last step left it.
        steps: that are made at once, before the layers `attend_at_once`; with one beam any number.
    """
    if isinstance(state.ancestors, tuple):
        return state._replace(position=state.position + steps)
    batch, width = ops.shape(state.ancestors)[0], state.width
    if width == 1:
        new = ops.ones((batch, 1, steps), "bool")
    else:
        new = ops.broadcast_to(ops.eye(width, dtype="bool"), (batch, width, width))  # a beam sees its own entry
    return state._replace(ancestors=_written(state.ancestors, new, 2, state), position=state.position + steps)


def attend(
    query: Any, key: Any, value: Any, cache: tuple[Any, Any], state: CachedState, window: int | None = None
) -> tuple[Any, tuple[Any, Any]]:
    """Attention of one decode step over the cache and its own entry.

    Args:
        query, key, value: (batch, heads, width, head_dim).
        cache: the layer's, as the last step left it.
        state: as `advance` returned it in this step.
        window: steps in the sliding attention window, this one included; None for all.

    Returns:
        (rows, heads * head_dim), rows = batch * width, and the cache with this step's entries.
    """
    before = state._replace(position=state.position - 1)
    keys, values = (_written(old, new, 2, before) for old, new in zip(cache, (key, value)))
    output, _ = dot_product_attention(query, keys, values, _within(window, ops.shape(keys)[2], state))
    return merge_heads(output, -1, query.shape[1] * query.shape[3]), (keys, values)


def attend_at_once(
    query: Any, key: Any, value: Any, cache: tuple[Any, Any], state: CachedState, mask: Any
) -> tuple[Any, tuple[Any, Any]]:
    """Attention of several steps of one beam over the cache and their own entries, in one pass.

    Args:
        query, key, value: (batch, heads, time, head_dim).
        cache: the layer's, as the last step left it.
        state: as `advance` returned it for these steps.
        mask: of these steps, see `mask_of_steps`.

    Returns:
        (batch, heads, time, head_dim), and the cache with the entries of these steps.
    """
    before = state._replace(position=state.position - ops.shape(query)[2])
    keys, values = (_written(old, new, 2, before) for old, new in zip(cache, (key, value)))
    output, _ = dot_product_attention(query, keys, values, mask)
    return output, (keys, values)


def mask_of_steps(state: CachedState, steps: Any, window: int | None = None) -> Any:
    """Which entries each of several steps at once attends to: its own and those before, or the last `window` of these.

    Args:
        state: of one beam, as `advance` returned it for these steps.
        steps: number of these.
        window: as for `attend`.

    Returns:
        (1, 1, steps, entries) bool.
    """
    entries = fixed_steps() or state.position
    of_step = ops.expand_dims(state.position - steps + ops.arange(steps, dtype="int32"), 1)  # (steps, 1)
    back = of_step - ops.arange(entries, dtype="int32")  # (steps, entries), from a step to an entry
    seen = back >= 0 if window is None else ops.logical_and(back >= 0, back < window)
    return seen[None, None]


def _within(window: int | None, entries: Any, state: CachedState) -> Any:
    """The mask of a state, restricted to the steps in the window."""
    if window is None:
        return state.mask
    recent = _step_of_each(entries, state) >= state.position - window  # position counts this step
    recent = recent[None, None, None]  # (1, 1, 1, entries)
    return recent if state.mask is None else ops.logical_and(state.mask, recent)


def _step_of_each(entries: Any, state: CachedState) -> Any:
    """Which step wrote an entry, (entries,)."""
    index, width = ops.arange(entries, dtype="int32"), state.width
    if width == 1 or fixed_steps() is not None:
        return index // width
    shared = (width * state.position - entries) // (width - 1)  # written one by one, before there were beams
    return ops.where(index < shared, index, shared + (index - shared) // width)


def widen(state: Any, width: int) -> Any:
    """A state (or memory) of one beam per row as one of `width` beams per row, which all have the same past.

    Args:
        state: pytree; the leaves outside of a `CachedState` are (batch, ...).

    Returns:
        the same, leaves (batch * width, ...), in the order of rows: all beams of the first, all of the second, ...
    """
    if width == 1:
        return state
    return _map(state, lambda leaf: _repeated(leaf, width), lambda cached: _widen_cached(cached, width))


def _repeated(leaf: Any, width: int) -> Any:
    """Every row `width` times, gathered: in ONNX, `ops.repeat` fails on tensors that have an axis of size 0."""
    return take_rows(leaf, ops.arange(ops.shape(leaf)[0] * width, dtype="int32") // width)


def _widen_cached(state: CachedState, width: int) -> CachedState:
    if fixed_steps() is None:
        batch, entries = (ops.shape(state.caches[0][0])[i] for i in (0, 2))
        return state._replace(ancestors=ops.ones((batch, width, entries), "bool"))
    caches = tuple(
        (ops.repeat(keys, width, axis=2), ops.repeat(values, width, axis=2)) for keys, values in state.caches
    )
    entries = caches[0][0].shape[2]
    own = ops.tile(ops.eye(width, dtype="bool"), (1, entries // width))  # (width, entries)
    return state._replace(caches=caches, ancestors=ops.logical_and(ops.repeat(state.ancestors, width, axis=2), own))


def reorder(state: Any, parents: Any, first_beams: Any = None) -> Any:
    """Reorders the beams: each goes on from the state of its parent.

    Args:
        state: pytree; the leaves outside of a `CachedState` are (batch * width, ...).
        parents: index of the parent within its row, (batch, width) int32.
        first_beams: of each row among batch * width, (batch, 1) int32; computed if None, at every step of a loop.
    """
    if first_beams is None:
        first_beams = ops.expand_dims(ops.arange(ops.shape(parents)[0], dtype="int32") * parents.shape[1], 1)
    rows = ops.reshape(first_beams + parents, (-1,))
    return _map(state, lambda leaf: take_rows(leaf, rows), lambda cached: _reorder_cached(cached, parents))


def _reorder_cached(state: CachedState, parents: Any) -> CachedState:
    if isinstance(state.ancestors, tuple):
        return state
    chosen = ops.one_hot(parents, parents.shape[1])  # (batch, width, width)
    ancestors = ops.matmul(chosen, ops.cast(state.ancestors, chosen.dtype))  # row w: those of the parent of w
    return state._replace(ancestors=ancestors > 0.5)


def _map(state: Any, on_leaf: Callable, on_cached: Callable) -> Any:
    def visit(part: Any) -> Any:
        if isinstance(part, CachedState):
            return on_cached(part)
        return None if tree.is_nested(part) else on_leaf(part)

    return tree.traverse(visit, state)


def fixed_steps() -> int | None:
    """For how many steps caches that are made now have room; None where they grow."""
    return None if keras.backend.backend() == "tensorflow" else _CAPACITY.get()


def _written(old: Any, new: Any, axis: int, state: CachedState) -> Any:
    """`old` with the entries of the steps from `state.position` on, `width` of each."""
    if fixed_steps() is None:
        return ops.concatenate([old, new], axis=axis)
    start = [0] * len(old.shape)
    start[axis] = state.position * state.width
    return ops.slice_update(old, start, new)
