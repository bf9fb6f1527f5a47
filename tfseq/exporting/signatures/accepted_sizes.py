"""Sizes of a model's free axes to try, in turn: small ones, then a search through all, then those near known ones."""

import itertools
from collections.abc import Callable, Iterator, Sequence

Sizes = dict[str, int]  # of free axes, by name

TURNS = 3  # of `small_sizes`
_COARSE = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_FINE = range(1, 257)
_LONG = (384, 512, 768, 1024, 1536, 2048, 4096)
_BATCHES = (2, 1, 4, 3, 6, 8, 5, 7, *range(9, 65))
_NEAR = 64
_LARGEST_HINT = 4096


def small_sizes(axes: Sequence[str], turn: int, apart: bool, far: bool) -> Sizes:
    """Sizes that tell the axes apart: other lengths in the second turn, another batch in the third.

    With `apart` they also differ from axis to axis, and not by the same each time, so that an axis that is always
    shorter by some steps is not taken for another. With `far` the second turn's lengths are several times as large.
    """
    start, step, batch = ((5, 4, 2), (23 if far else 7, 5, 2), (5, 4, 3))[turn]
    lengths = (start + step * i * apart for i in itertools.count())
    return {axis: batch if axis == "batch" else next(lengths) for axis in axes}


def search_order(axes: Sequence[str], hints: Sequence[int] = ()) -> Iterator[Sizes]:
    """All sizes worth trying on a model of which nothing is known.

    Args:
        axes: the free ones.
        hints: sizes of the model's weights, among which are those of its tables of positions.
    """
    free = [axis for axis in axes if axis != "batch"]
    hints = sorted({hint for hint in hints if 1 <= hint <= _LARGEST_HINT})
    short = [hint for hint in hints if hint <= max(_FINE)]
    lengths = list(dict.fromkeys([*_COARSE, *short, *_FINE, *_LONG, *hints])) if free else [1]
    batches = list(dict.fromkeys([*_BATCHES, *short])) if "batch" in axes else [1]

    def sizes(batch: int, chosen: Sequence[int]) -> Sizes:
        given = iter(chosen)
        return {axis: batch if axis == "batch" else next(given) for axis in axes}

    for length in lengths:
        yield sizes(batches[0], [length] * len(free))
    if len(free) > 1:
        several = sorted({*_COARSE, *short}) if len(free) == 2 else _COARSE[::2]
        for chosen in sorted(itertools.product(several, repeat=min(len(free), 4)), key=sum):
            yield sizes(batches[0], [*chosen, *[chosen[-1]] * (len(free) - len(chosen))])
    for length, batch in itertools.product([*dict.fromkeys([*_COARSE, *short])] if free else [1], batches[1:]):
        yield sizes(batch, [length] * len(free))


def nearby(sizes: Sizes, axes: Sequence[str], far: bool) -> Iterator[Sizes]:
    """Other sizes of some axes, all changed alike: by little first, then doubled or halved, then, if `far`, by more."""
    few = [sign * by for by in range(1, 9) for sign in (1, -1)]
    many = [sign * by for by in range(9, _NEAR + 1) for sign in (1, -1)] if far else []
    changes: list[Callable[[int], int]] = [lambda n, by=by: n + by for by in few]  # type: ignore[misc]
    changes += [lambda n: 2 * n, lambda n: n // 2, lambda n: 3 * n]
    changes += [lambda n, by=by: n + by for by in many]  # type: ignore[misc]
    for change in changes:
        others = {axis: change(sizes[axis]) for axis in axes}
        if min(others.values()) >= 1:
            yield sizes | others


def between(low: Sizes, refused: int, takes: Callable[[Sizes], bool]) -> Sizes:
    """The largest sizes from `low` on, all changed alike, that are taken, if all below those are, too."""
    lengths = [axis for axis in low if axis != "batch"]
    least, most = 0, refused - max(low[axis] for axis in lengths)
    while most - least > 1:
        middle = (least + most) // 2
        if takes(low | {axis: low[axis] + middle for axis in lengths}):
            least = middle
        else:
            most = middle
    return low | {axis: low[axis] + least for axis in lengths}
