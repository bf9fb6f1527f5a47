"""Convolution and its gradients by their definitions: every sum written out, in NumPy.

A convolutional layer slides its kernel without turning it round, which strictly is a correlation; the definition's
convolution is the same with the kernel flipped. Going backward through one needs the other: both are here.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from tfseq.errors import InputError

Padding = str | Sequence[tuple[int, int]]  # "valid", "same", or (before, after) for each axis
Function = Callable[[np.ndarray], np.ndarray]


def integral(f: Function, g: Function, at: np.ndarray, low: float, high: float, points: int = 20_000) -> np.ndarray:
    """The continuous convolution, [f * g](t) = integral of f(a) g(t - a) da, by the midpoint rule.

    Args:
        f, g: from an array to an array of its shape.
        at: t, (times,).
        low, high: f is 0 outside.
        points: at which f is taken.

    Returns:
        [f * g](t), (times,).
    """
    width = (high - low) / points
    a = low + width * (np.arange(points) + 0.5)  # (points,)
    return np.array([np.sum(f(a) * g(t - a)) * width for t in at])


def box(x: np.ndarray, width: float = 1.0) -> np.ndarray:
    """1 within half a width of 0, else 0."""
    return (np.abs(x) < width / 2).astype("float64")


def convolved_boxes(t: np.ndarray, width: float = 1.0, other: float = 1.0) -> np.ndarray:
    """The closed form of two boxes' convolution: the length of their overlap, a triangle if they are equally wide."""
    return np.clip((width + other) / 2 - np.abs(t), 0, min(width, other))


def convolve(f: np.ndarray | Sequence[float], g: np.ndarray | Sequence[float]) -> np.ndarray:
    """The discrete convolution, [f * g](i) = sum_a f(a) g(i - a), for each i at which f and g meet.

    Args:
        f, g: (length of each,), 0 elsewhere.

    Returns:
        (len(f) + len(g) - 1,).
    """
    result = np.zeros(len(f) + len(g) - 1)
    for i in range(len(result)):
        for a in range(len(f)):
            if 0 <= i - a < len(g):
                result[i] += f[a] * g[i - a]
    return result


def correlate(x: np.ndarray, kernel: np.ndarray, stride: int = 1, padding: Padding = "valid") -> np.ndarray:
    """What a convolutional layer computes: y(i, o) = sum over a and c of x(i stride + a, c) kernel(a, c, o).

    Args:
        x: (batch, ..., channels) with any number of axes between, one for signals, two for images.
        kernel: (..., channels, kernels): how far it reaches along each of these axes, then channels.
        stride: step from one place to the next, along each axis.
        padding: "valid" has none, "same" (TensorFlow's) gives ceil(length / stride) places, or zeros before and after
            for each axis; less than 0 cuts off.

    Returns:
        (batch, ..., kernels).

    Raises:
        InputError: axes or channels don't fit, the kernel is longer than what it slides over, or there is no such
            padding.
    """
    _check(x, kernel)
    x = _padded(x, pads(x.shape[1:-1], kernel.shape[:-2], stride, padding))
    lengths = [(length - size) // stride + 1 for length, size in zip(x.shape[1:-1], kernel.shape)]
    if min(lengths) < 1:
        raise InputError(
            f"A kernel of {kernel.shape[:-2]} does not fit into {x.shape[1:-1]}, padding included; make it smaller."
        )
    y = np.zeros((x.shape[0], *lengths, kernel.shape[-1]))
    for a in itertools.product(*map(range, kernel.shape[:-2])):  # one product per place within the kernel
        seen = tuple(slice(start, start + stride * length, stride) for start, length in zip(a, lengths))
        y += x[:, *seen] @ kernel[a]  # (batch, ..., channels) (channels, kernels)
    return y


def gradients(
    x: np.ndarray, kernel: np.ndarray, dy: np.ndarray, stride: int = 1, padding: Padding = "valid"
) -> tuple[np.ndarray, np.ndarray]:
    """Backward through `correlate`, by `correlate`.

    With zeros between dy's entries, stride - 1 of them, dL/dx is that convolved with the kernel, which is correlation
    with the flipped kernel, input and output channels swapped; and dL/dkernel is x correlated with that.

    Args:
        x, kernel, stride, padding: as `correlate` took them.
        dy: dL/dy, of the shape of what it returned.

    Returns:
        dL/dx and dL/dkernel, of the shapes of x and kernel.
    """
    _check(x, kernel)
    axes = tuple(range(kernel.ndim - 2))
    sizes, around = kernel.shape[:-2], pads(x.shape[1:-1], kernel.shape[:-2], stride, padding)
    spread = dilated(dy, stride)
    # A stride may leave the last pixels unread; they get no gradient.
    unread = [
        length + sum(both) - (places + size - 1)
        for length, both, places, size in zip(x.shape[1:-1], around, spread.shape[1:-1], sizes)
    ]
    flipped = np.flip(kernel, axes).swapaxes(-1, -2)  # (..., kernels, channels)
    full = [(size - 1 - before, size - 1 - after + rest) for size, (before, after), rest in zip(sizes, around, unread)]
    dx = correlate(spread, flipped, 1, full)
    read = [(before, after - rest) for (before, after), rest in zip(around, unread)]
    # Summed over examples, so the batch stands where channels do: x (channels, ..., batch), dy (..., batch, kernels).
    dkernel = correlate(x.swapaxes(0, -1), np.moveaxis(spread, 0, -2), 1, read)  # (channels, ..., kernels)
    return dx, np.moveaxis(dkernel, 0, -2)


def dilated(dy: np.ndarray, stride: int) -> np.ndarray:
    """(batch, ..., channels) with stride - 1 zeros between neighbours along each axis between."""
    lengths = [(length - 1) * stride + 1 for length in dy.shape[1:-1]]
    spread = np.zeros((dy.shape[0], *lengths, dy.shape[-1]))
    spread[:, *[slice(None, None, stride)] * len(lengths)] = dy
    return spread


def pads(lengths: Sequence[int], sizes: Sequence[int], stride: int, padding: Padding) -> list[tuple[int, int]]:
    """Zeros before and after along each axis.

    Raises:
        InputError: there is no such padding.
    """
    if padding == "valid":
        return [(0, 0)] * len(lengths)
    if padding == "same":
        places = [-(-length // stride) for length in lengths]
        missing = [max((n - 1) * stride + size - length, 0) for n, size, length in zip(places, sizes, lengths)]
        return [(total // 2, total - total // 2) for total in missing]
    if isinstance(padding, str) or len(padding) != len(lengths):
        raise InputError(f"padding is {padding!r}; expected valid, same, or {len(lengths)} pairs (before, after).")
    return list(padding)


def shifted(x: np.ndarray, by: int) -> np.ndarray:
    """(batch, time, ...) moved along its first inner axis by `by` places, zeros following."""
    moved = np.zeros_like(x)
    moved[:, max(by, 0) : x.shape[1] + min(by, 0)] = x[:, max(-by, 0) : x.shape[1] - max(by, 0)]
    return moved


def _padded(x, around):
    """Zeros around the axes between the first and the last, or less of them where a number is below 0."""
    kept = [slice(max(-before, 0), length - max(-after, 0)) for length, (before, after) in zip(x.shape[1:-1], around)]
    widths = [(max(before, 0), max(after, 0)) for before, after in around]
    return np.pad(x[:, *kept], [(0, 0), *widths, (0, 0)])


def _check(x, kernel):
    if x.ndim < 3 or kernel.ndim != x.ndim or x.shape[-1] != kernel.shape[-2]:
        raise InputError(
            f"x is {x.shape} and the kernel {kernel.shape}; expected (batch, ..., channels) and (..., channels, "
            "kernels), with as many axes and channels in both."
        )
