"""Array functions as they are traced for conversion: ONNX Runtime gives what NumPy gives."""

import itertools

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from keras import ops

from tfseq.errors import ExportError
from tfseq.exporting.conversion.convert import to_onnx
from tfseq.runtime import TensorSpec

RANDOM = np.random.default_rng(0)


def converted(function, *examples, free=(0,), opset=None):
    """`function` in ONNX Runtime; the axes `free` of its arguments, which are like the examples, may have any size."""
    specs = [
        TensorSpec(f"x{i}", str(x.dtype), tuple(f"axis{a}" if a in free else n for a, n in enumerate(x.shape)))
        for i, x in enumerate(examples)
    ]
    model = to_onnx(lambda **named: {"y": function(*(named[s.name] for s in specs))}, specs, opset)
    assert {entry.domain for entry in model.opset_import} <= {""}
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return lambda *arrays: session.run(None, {f"x{i}": x for i, x in enumerate(arrays)})[0]


def normal(*shape):
    return RANDOM.normal(size=shape).astype("float32")


@pytest.mark.parametrize("opset", [13, None])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("free", [(0,), (0, 1)])
def test_associative_scans(free, reverse, opset):
    """Of (decay, value) pairs, which do not commute: y_t = a_t y_(t-1) + x_t."""

    def function(a, x):
        combine = lambda first, later: (first[0] * later[0], first[1] * later[0] + later[1])  # noqa: E731
        return ops.associative_scan(combine, (a, x), axis=1, reverse=reverse)[1]

    run = converted(function, normal(2, 7, 3), normal(2, 7, 3), free=free, opset=opset)
    for length in (1, 2, 7, 16) if 1 in free else (7,):
        a, x = normal(2, length, 3), normal(2, length, 3)
        expected, y = np.zeros_like(x), np.zeros((2, 3), "float32")
        for t in range(length)[::-1] if reverse else range(length):
            expected[:, t] = y = a[:, t] * y + x[:, t]
        assert np.allclose(run(a, x), expected, atol=1e-4)


@pytest.mark.parametrize("size", [1, 3])
def test_slices_are_written_where_they_fit(size):
    run = converted(
        lambda x, y, at: ops.slice_update(x, (0, at[0], 1), y),
        normal(2, 6, 4),
        normal(2, size, 2),
        np.zeros(1, "int32"),
        free=(),
    )
    for start in (-2, 0, 2, 5, 9):
        x, y = normal(2, 6, 4), normal(2, size, 2)
        expected, first = x.copy(), min(max(start, 0), 6 - size)
        expected[:, first : first + size, 1:3] = y
        assert np.array_equal(run(x, y, np.int32([start])), expected)


@pytest.mark.parametrize("opset", [13, None])
def test_counts_with_and_without_weights(opset):
    numbers, weights = RANDOM.integers(0, 9, (3, 12)).astype("int32"), normal(3, 12)
    run = converted(lambda n, w: ops.bincount(n, weights=w, minlength=5), numbers, weights, opset=opset)
    expected = [np.bincount(n, w, numbers.max() + 1) for n, w in zip(numbers, weights)]
    assert np.allclose(run(numbers, weights), expected, atol=1e-5)
    few = numbers % 2
    assert run(few, weights).shape == (3, 5)
    run = converted(lambda n: ops.bincount(n, minlength=11), numbers, opset=opset)
    assert np.array_equal(run(numbers), [np.bincount(n, minlength=11) for n in numbers])


@pytest.mark.parametrize(
    ("kind", "reduce", "empty"),
    [
        ("sum", np.sum, 0),
        ("prod", np.prod, 1),
        ("max", np.max, np.finfo("float32").min),
        ("min", np.min, np.finfo("float32").max),
    ],
)
def test_segments_of_which_some_are_empty(kind, reduce, empty):
    x, ids = normal(8, 2), np.int32([2, 0, 2, 5, -1, 0, 2, 5])
    run = converted(lambda x, ids: getattr(tf.math, f"unsorted_segment_{kind}")(x, ids, 7), x, ids)
    expected = [reduce(x[ids == i], 0) if (ids == i).any() else [empty] * 2 for i in range(7)]
    assert np.allclose(run(x, ids), expected, rtol=1e-5)
    run = converted(lambda x, ids: getattr(tf.math, f"segment_{kind}")(x, ids), x, ids)
    between = {"prod": 1}.get(kind, 0)
    ids = np.sort(np.where(ids < 0, 0, ids))
    expected = [reduce(x[ids == i], 0) if (ids == i).any() else [between] * 2 for i in range(6)]
    assert np.allclose(run(x, ids), expected, rtol=1e-5)


def test_one_of_several_branches():
    branches = [lambda x: x + 1, lambda x: 2 * x, lambda x: -x, lambda x: x * x, ops.exp]
    run = converted(lambda x, i: ops.switch(i[0], branches, x), normal(2, 3), np.zeros(1, "int32"), free=())
    x = normal(2, 3)
    expected = [x + 1, 2 * x, -x, x * x, np.exp(x)]
    for i in (-3, 0, 1, 2, 3, 4, 8):
        assert np.allclose(run(x, np.int32([i])), expected[min(max(i, 0), 4)], atol=1e-6)
    for i in (0, 4, 7):
        run = converted(lambda x, i=i: ops.switch(ops.convert_to_tensor(i), branches, x), x)
        assert np.allclose(run(x), expected[min(i, 4)], atol=1e-6)


def test_whole_numbers_of_any_count():
    x, y = RANDOM.integers(-40, 40, (2, 5, 12)).astype("int32")
    x[0, :3] = 0
    for name in ("gcd", "lcm"):
        run = converted(getattr(ops, name), x, y)
        assert np.array_equal(run(x, y), getattr(np, name)(x, y))
    wanted = [3, -7, 12, 0]
    for invert in (False, True):
        run = converted(lambda x, invert=invert: ops.isin(x, wanted, invert=invert), x)
        assert np.array_equal(run(x), np.isin(x, wanted, invert=invert))
    run = converted(lambda x: ops.stack(ops.unravel_index(x, (4, 5, 6))), x[:, 0])
    places = RANDOM.integers(0, 120, 30).astype("int32")
    assert np.array_equal(run(places), np.unravel_index(places, (4, 5, 6)))


def test_what_is_scattered_to_one_place_is_added():
    x, places = normal(8, 3), np.int32([[4], [0], [4], [4], [1], [0], [5], [4]])
    expected = np.zeros((6, 3), "float32")
    np.add.at(expected, places[:, 0], x)
    run = converted(lambda i, x: ops.scatter(i, x, (6, 3)), places, x)
    assert np.allclose(run(places, x), expected, atol=1e-6)
    counts = converted(lambda x: ops.histogram(x, 5, (-1.0, 1.0))[0], x[:, 0])(x[:, 0])
    assert np.array_equal(counts, np.histogram(x[:, 0], 5, (-1, 1))[0])


def test_windows_side_by_side():
    x = normal(3, 2, 6, 7)
    run = converted(lambda x: ops.unfold(x, (2, 3), padding=(1, 0), stride=(1, 2)), x)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2, 3), (2, 3))[:, :, ::1, ::2]
    assert np.array_equal(run(x), windows.transpose(0, 1, 4, 5, 2, 3).reshape(3, 2 * 2 * 3, -1))


def test_inner_products_and_correlations():
    x, y = normal(2, 5, 6), normal(3, 6)
    assert np.allclose(converted(ops.inner, x, y)(x, y), np.inner(x, y), atol=1e-5)
    assert np.allclose(converted(ops.corrcoef, y, free=(0,))(y), np.corrcoef(y), atol=1e-5)
    assert np.allclose(converted(lambda x: ops.bartlett(6) * x, y)(y), np.bartlett(6) * y, atol=1e-6)


def ctc_loss(probabilities, label, blank):
    """-log of the summed probability of all paths that spell `label`; probabilities: (steps, symbols)."""
    steps, symbols = probabilities.shape
    total = 0.0
    for path in itertools.product(range(symbols), repeat=steps):
        if [symbol for symbol, _ in itertools.groupby(path) if symbol != blank] == list(label):
            total += np.prod(probabilities[range(steps), path])
    return -np.log(total) if total else np.inf


@pytest.mark.parametrize("blank", [0, 3])
def test_ctc_losses(blank):
    """Of labels with repetitions, of none, and of more than fit the steps."""
    logits = normal(5, 6, 4)
    symbols = [i for i in range(4) if i != blank]
    labels = np.int32(RANDOM.choice(symbols, (5, 3)))
    labels[1] = symbols[0]
    sizes, steps = np.int32([3, 3, 0, 2, 3]), np.int32([6, 6, 5, 2, 2])
    function = lambda x, y, m, n: ops.ctc_loss(y, x, m, n, mask_index=blank)  # noqa: E731
    run = converted(function, logits, labels, sizes, steps, free=(0, 1))
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = [ctc_loss(p[:n], y[:m], blank) for p, y, m, n in zip(probabilities, labels, sizes, steps, strict=True)]
    assert np.allclose(run(logits, labels, sizes, steps), expected, atol=1e-4)


def test_a_ctc_beam_search_is_refused():
    def function(x):
        return ops.ctc_decode(x, tf.fill([tf.shape(x)[0]], 6), strategy="beam_search")[0][0]

    with pytest.raises(ExportError, match=r"decodes by a CTC beam search, .* Decode greedily"):
        converted(function, normal(2, 6, 4))
