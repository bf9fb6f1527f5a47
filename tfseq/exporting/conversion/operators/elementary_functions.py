"""Handlers of functions that ONNX lacks: erfc, expm1, log1p, erfinv, cumulative product, sparse cross-entropy."""

from typing import Any

import numpy as np
from onnx import TensorProto

from tfseq.exporting.conversion.operators.builder import Builder


def _erfc(graph: Any, node: Any, name: str, args: Any) -> None:
    op = Builder(graph, node)
    x = node.input[0]
    op.finish(op("Sub", op.like(1, x), op("Erf", x)))


def _expm1(graph: Any, node: Any, name: str, args: Any) -> None:
    """exp(x) - 1, near 0 by tanh: expm1(x) = 2 tanh(x/2) / (1 - tanh(x/2)), which loses nothing there."""
    op = Builder(graph, node)
    x = node.input[0]
    t = op("Tanh", op("Mul", x, op.like(0.5, x)))
    near = op("Div", op("Mul", t, op.like(2, x)), op("Sub", op.like(1, x), t))
    far = op("Sub", op("Exp", x), op.like(1, x))
    op.finish(op("Where", op("Less", op("Abs", x), op.like(0.5, x)), near, far))


def _log1p(graph: Any, node: Any, name: str, args: Any) -> None:
    """log(1 + x), with the part of x that 1 + x rounds away put back: u = 1 + x; log(u) - ((u - 1) - x) / u."""
    op = Builder(graph, node)
    x = node.input[0]
    one = op.like(1, x)
    u = op("Add", one, x)
    lost = op("Div", op("Sub", op("Sub", u, one), x), u)
    finite = op("Less", op("Abs", u), op.like(1e30, x))
    corrected = op("Sub", op("Log", u), lost)
    op.finish(op("Where", op("And", finite, op("Greater", u, op.like(0, x))), corrected, op("Log", u)))


# Giles, "Approximating the erfinv function" (2010): two polynomials in w = -log(1 - x^2).
_ERFINV_CENTRE: tuple[float, ...] = (
    2.81022636e-08,
    3.43273939e-07,
    -3.5233877e-06,
    -4.39150654e-06,
    0.00021858087,
    -0.00125372503,
)
_ERFINV_CENTRE += (-0.00417768164, 0.246640727, 1.50140941)
_ERFINV_TAIL: tuple[float, ...] = (
    -0.000200214257,
    0.000100950558,
    0.00134934322,
    -0.00367342844,
    0.00573950773,
    -0.0076224613,
)
_ERFINV_TAIL += (0.00943887047, 1.00167406, 2.83297682)


def _erfinv(graph: Any, node: Any, name: str, args: Any) -> None:
    op = Builder(graph, node)
    x = node.input[0]
    one = op.like(1, x)
    w = op("Neg", op("Log", op("Mul", op("Sub", one, x), op("Add", one, x))))

    def polynomial(coefficients, at):
        value = op.like(coefficients[0], x)
        for coefficient in coefficients[1:]:
            value = op("Add", op("Mul", value, at), op.like(coefficient, x))
        return value

    centre = polynomial(_ERFINV_CENTRE, op("Sub", w, op.like(2.5, x)))
    tail = polynomial(_ERFINV_TAIL, op("Sub", op("Sqrt", w), op.like(3, x)))
    inside = op("Mul", x, op("Where", op("Less", w, op.like(5, x)), centre, tail))
    beyond = op("Sqrt", op("Sub", one, op("Abs", x)))  # not a number
    at_end = op("Add", op("Mul", x, op.like(np.inf, x)), beyond)
    op.finish(op("Where", op("Less", op("Abs", x), one), inside, at_end))


def _cumulative_product(graph: Any, node: Any, name: str, args: Any) -> None:
    """Over a fixed length by doubling: x times x moved by 1 place, that times itself moved by 2, by 4, .."""
    op = Builder(graph, node)
    x, axis = node.input
    dtype, shape, along = graph.get_dtype(x), op.shape(x), op.value(axis)
    exclusive, reverse = (bool(node.get_attr_value(key)) for key in ("exclusive", "reverse"))
    if shape is None or along is None or shape[int(along)] is None:
        op.finish(_product_by_logarithms(op, x, axis, exclusive, reverse))
        return
    wide = dtype if dtype in _MULTIPLIED else TensorProto.INT64
    product = x if wide == dtype else op("Cast", x, to=wide)

    def moved(y: str, by: int) -> str:
        pads = np.zeros((2, len(shape)), "int64")
        pads[:, int(along)] = (-by, by) if reverse else (by, -by)
        return op("Pad", y, pads.reshape(-1), np.ones((), _MULTIPLIED[wide]))

    size = shape[int(along)] or 1
    for step in (2**i for i in range((size - 1).bit_length())):
        product = op("Mul", product, moved(product, step))
    product = moved(product, 1) if exclusive else product
    op.finish(product if wide == dtype else op("Cast", product, to=dtype))


_MULTIPLIED: dict[int, Any] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.DOUBLE: np.float64,
    TensorProto.INT32: np.int32,
    TensorProto.INT64: np.int64,
}


def _product_by_logarithms(op: Builder, x: str, axis: str, exclusive: bool, reverse: bool) -> str:
    """Of floats: of magnitudes by their logarithms (a 0 is -inf, which stays); the sign by the count of negative
    factors. Integers are traced as a loop."""
    options = {"exclusive": int(exclusive), "reverse": int(reverse)}
    size = op("Exp", op("CumSum", op("Log", op("Abs", x)), axis, **options))
    negative = op("Cast", op("Less", x, op.like(0, x)), to=op.graph.get_dtype(x))
    halves = op("Mul", op("CumSum", negative, axis, **options), op.like(0.5, x))
    return op("Where", op("Greater", halves, op("Floor", halves)), op("Neg", size), size)


def _sparse_cross_entropy(graph: Any, node: Any, name: str, args: Any) -> None:
    """-log softmax of each row's label."""
    op = Builder(graph, node)
    logits, labels = node.input
    chosen = op("GatherElements", op("LogSoftmax", logits, axis=-1), op("Unsqueeze", labels, np.array([1])), axis=1)
    op.finish(op("Neg", op("Squeeze", chosen, np.array([1]))))


# Abramowitz and Stegun, "Handbook of Mathematical Functions" (1964), 9.8.1 to 9.8.4: below 3.75, in (x / 3.75)^2;
# above, times exp(x) / sqrt(x), in 3.75 / x.
_BESSEL: dict[int, tuple[tuple[float, ...], tuple[float, ...]]] = {
    0: (
        (1, 3.5156229, 3.0899424, 1.2067492, 0.2659732, 0.0360768, 0.0045813),
        (
            *(0.39894228, 0.01328592, 0.00225319, -0.00157565, 0.00916281),
            *(-0.02057706, 0.02635537, -0.01647633, 0.00392377),
        ),
    ),
    1: (
        (0.5, 0.87890594, 0.51498869, 0.15084934, 0.02658733, 0.00301532, 0.00032411),
        (
            *(0.39894228, -0.03988024, -0.00362018, 0.00163801, -0.01031555),
            *(0.02282967, -0.02895312, 0.01787654, -0.00420059),
        ),
    ),
}


def _bessel(graph: Any, node: Any, name: str, args: Any) -> None:
    """The modified Bessel functions of the first kind, of order 0 and 1; those that end in e times exp(-|x|)."""
    op = Builder(graph, node)
    x = node.input[0]
    order, scaled = int(node.type[len("BesselI")]), node.type.endswith("e")
    size, limit = op("Abs", x), op.like(3.75, x)

    def polynomial(coefficients: tuple[float, ...], at: str) -> str:
        value = op.like(coefficients[-1], x)
        for coefficient in coefficients[-2::-1]:
            value = op("Add", op("Mul", value, at), op.like(coefficient, x))
        return value

    small, large = op("Min", size, limit), op("Max", size, limit)
    ratio = op("Div", small, limit)
    near = polynomial(_BESSEL[order][0], op("Mul", ratio, ratio))
    far = op("Div", polynomial(_BESSEL[order][1], op("Div", limit, large)), op("Sqrt", large))
    if order == 1:
        near, far = op("Mul", near, x), op("Mul", far, op("Sign", x))
    if scaled:
        near = op("Mul", near, op("Exp", op("Neg", small)))
    else:
        far = op("Mul", far, op("Exp", large))
    op.finish(op("Where", op("Less", size, limit), near, far))


HANDLERS = {
    "Cumprod": _cumulative_product,
    "Erfc": _erfc,
    "Expm1": _expm1,
    "Log1p": _log1p,
    "Erfinv": _erfinv,
    "SparseSoftmaxCrossEntropyWithLogits": _sparse_cross_entropy,
    **{f"BesselI{order}{scaled}": _bessel for order in _BESSEL for scaled in ("", "e")},
}
