"""Fusing Gelu (opset 20) from its formulas (Hendrycks and Gimpel, 2016)."""

import math
from collections.abc import Iterator

import onnx

from tfseq.exporting.rewriting.graph import all_graphs
from tfseq.exporting.rewriting.pattern_matching import Values, both_ways, put


def fuse_gelu(model: onnx.ModelProto) -> None:
    """x / 2 (1 + erf(x / sqrt 2)) and x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) as one operator."""
    values = Values(model)
    for graph in all_graphs(model.graph):
        for node in graph.node:
            if node.op_type not in ("Mul", "Div"):
                continue
            scale, factors = _factors(values, node.output[0])
            if len(factors) != 2 or not _near(scale, 0.5):
                continue
            for x, gate in (factors, factors[::-1]):
                kind = _gate(values, gate, x)
                if kind:
                    put(values, node, "Gelu", [x], approximate=kind)
                    break


def _gate(values: Values, name: str, x: str) -> str | None:
    """Whether it is 1 + erf(x / sqrt 2) ("none") or its approximation by tanh ("tanh"); None if neither."""
    for inner in _one_plus(values, name):
        erf = values.node(inner, "Erf")
        if erf is not None and _is_multiple(values, erf.input[0], x, math.sqrt(0.5)):
            return "none"
        tanh = values.node(inner, "Tanh")
        if tanh is not None:
            scale, factors = _factors(values, tanh.input[0])
            if len(factors) == 1 and _near(scale, math.sqrt(2 / math.pi)) and _is_cubic(values, factors[0], x):
                return "tanh"
    return None


def _one_plus(values: Values, name: str) -> Iterator[str]:
    total = values.node(name, "Add")
    for a, b in both_ways(total) if total is not None else ():
        if values.scalar(a) == 1:
            yield b


def _is_cubic(values: Values, name: str, x: str) -> bool:
    """x + 0.044715 x^3, or x (1 + 0.044715 x^2)"""
    total = values.node(name, "Add")
    for a, b in both_ways(total) if total is not None else ():
        scale, factors = _factors(values, b)
        if a == x and _near(scale, 0.044715) and factors == [x] * 3:
            return True
    scale, factors = _factors(values, name)
    if len(factors) == 2 and scale == 1 and x in factors:
        other = factors[1 - factors.index(x)]
        for square in _one_plus(values, other):
            scale, squared = _factors(values, square)
            if _near(scale, 0.044715) and squared == [x] * 2:
                return True
    return False


def _is_multiple(values: Values, name: str, x: str, by: float) -> bool:
    scale, factors = _factors(values, name)
    return factors == [x] and _near(scale, by)


def _factors(values: Values, name: str, depth: int = 4) -> tuple[float, list[str]]:
    """A value as a number times other values; a power counts as that many factors."""
    number = values.scalar(name)
    if number is not None:
        return number, []
    node = values.made.get(name)
    if node is None or depth == 0:
        return 1.0, [name]
    if node.op_type == "Mul":
        (a, first), (b, second) = (_factors(values, x, depth - 1) for x in node.input)
        return a * b, first + second
    divisor = values.scalar(node.input[1]) if node.op_type == "Div" else None
    if divisor:
        scale, factors = _factors(values, node.input[0], depth - 1)
        return scale / divisor, factors
    exponent = values.scalar(node.input[1]) if node.op_type == "Pow" else None
    if exponent in (2, 3):
        scale, factors = _factors(values, node.input[0], depth - 1)
        return scale ** int(exponent), factors * int(exponent)
    if node.op_type == "Neg":
        scale, factors = _factors(values, node.input[0], depth - 1)
        return -scale, factors
    return 1.0, [name]


def _near(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-5)
