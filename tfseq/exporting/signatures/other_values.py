"""Other values for random inputs that a model refuses: divisors that are not 0, lengths, indices, values of samples."""

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from tfseq.runtime.manifest import TensorSpec

Arrays = Mapping[str, np.ndarray]
Change = tuple[tuple[str, str], ...]  # (input, kind of values); () leaves the inputs as they were drawn

_MOST = 3  # inputs whose kinds are combined; of more, all get the same kind, or one gets another
_SCALES = {"small": 1e-2, "tiny": 1e-9}
_UNKNOWN = 4  # stands for a length where no input has any


def changes(
    inputs: Sequence[TensorSpec], vocabulary_sizes: int | Mapping[str, int] | None, samples: Sequence[Arrays] = ()
) -> list[Change]:
    """What to try in turn: the inputs as drawn, then kinds of whole numbers for integers, then positive and small
    numbers.

    Token ids, whose vocabulary size is known, are tried without 0 at most.
    """
    whole = [spec.name for spec in inputs if _kind(spec) in "iub"]
    ids = [name for name in whole if _vocabulary_size(vocabulary_sizes, name)]
    numbers = [spec.name for spec in inputs if _kind(spec) == "f"]
    counts = [spec.name for spec in inputs if _kind(spec) == "f" and _one_per_row(spec) and len(inputs) > 1]
    seen = ["seen"] if samples else []
    tried: list[Change] = [(), tuple((name, "positive") for name in ids)]
    whole = [name for name in whole if name not in ids]
    for kind in ("begun", "positive", "length", "index", *seen, "one") if whole else ():
        tried.append(tuple((name, kind) for name in whole))
    tried += _mixed(whole, ("", "positive", "length", "index", "one"))
    tried += [tuple((name, kind) for name in counts) for kind in ("length", *seen) if counts]
    if numbers:
        tried.append(tuple((name, "positive") for name in numbers))
        tried.append(tuple((name, "positive") for name in [*whole, *numbers]))
        tried += [tuple((name, kind) for name in numbers) for kind in _SCALES]
    if samples:
        tried.append(tuple((spec.name, "seen") for spec in inputs if _kind(spec) in "iubf"))
    return list(dict.fromkeys(tried))


def changed(
    drawn: Arrays, change: Change, vocabulary_sizes: int | Mapping[str, int] | None, samples: Sequence[Arrays] = ()
) -> dict[str, np.ndarray]:
    """The inputs with other values for those that a change names; token ids stay below their vocabulary size."""
    arrays = dict(drawn)
    for name, kind in change:
        known = _vocabulary_size(vocabulary_sizes, name)
        array = _values(drawn, name, kind, samples)
        if known and array.dtype.kind in "iu" and kind != "seen":
            array = np.minimum(array, known - 1)
        arrays[name] = array.astype(drawn[name].dtype)
    return arrays


def _vocabulary_size(sizes: int | Mapping[str, int] | None, name: str) -> int | None:
    return sizes.get(name) if isinstance(sizes, Mapping) else sizes


def _values(drawn: Arrays, name: str, kind: str, samples: Sequence[Arrays]) -> np.ndarray:
    array = drawn[name]
    random = np.random.default_rng(array.size)
    if kind == "begun":  # the first of each sequence is real
        array = array.copy()
        if array.ndim > 1 and array.shape[1]:
            array[:, 0] = np.maximum(array[:, 0], 1)
        return array
    if kind == "positive":
        return np.abs(array) + np.float32(0.01) if array.dtype.kind == "f" else np.maximum(array, 1)
    if kind in _SCALES:
        return array * np.float32(_SCALES[kind])
    if kind == "seen":
        values = np.concatenate([sample[name].ravel() for sample in samples if name in sample] or [array.ravel()])
        return random.choice(values, array.shape) if values.size else array
    longest = _longest(drawn, name)
    if kind == "length":
        return random.integers(1, longest + 1, array.shape)
    if kind == "index":
        return random.integers(0, longest, array.shape)
    return np.ones_like(array)


def _longest(drawn: Arrays, name: str) -> int:
    """What a length can be at most: the steps of the shortest sequence beside this input."""
    steps = [array.shape[1] for other, array in drawn.items() if other != name and array.ndim > 1]
    return max(min(steps, default=_UNKNOWN), 1)


def _mixed(names: Sequence[str], kinds: Sequence[str]) -> Iterator[Change]:
    if len(names) <= _MOST:
        for chosen in itertools.product(kinds, repeat=len(names)):
            yield tuple((name, kind) for name, kind in zip(names, chosen) if kind)
        return
    for name, kind in itertools.product(names, kinds[1:]):
        yield ((name, kind),)


def _kind(spec: TensorSpec) -> str:
    return "S" if spec.dtype == "string" else np.dtype(spec.dtype).kind


def _one_per_row(spec: TensorSpec) -> bool:
    return len(spec.shape) <= 1 or spec.shape[1:] == (1,)
