"""Fusing LayerNormalization (opset 17) and RMSNormalization (opset 23) from their formulas."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import NodeProto

from tfseq.exporting.rewriting.graph import all_graphs
from tfseq.exporting.rewriting.pattern_matching import Values, attribute, both_ways, put


@dataclass(frozen=True)
class _Normalized:
    """What is divided by the root of its second moment over the last axes."""

    x: str
    axes: int  # how many
    epsilon: float


def fuse_layer_normalization(model: onnx.ModelProto) -> None:
    """(x - mean) / sqrt(variance + epsilon) * scale + shift, in either order of computation, as one operator."""
    values = Values(model)
    for graph in all_graphs(model.graph):
        for node in reversed(graph.node):  # a scaled one before the plain one in it
            for found, scale, shift in _layer_normalizations(values, node):
                if _put(values, node, "LayerNormalization", found, scale, shift):
                    break


def fuse_rms_normalization(model: onnx.ModelProto) -> None:
    """x / sqrt(mean of squares + epsilon) * scale as one operator."""
    values = Values(model)
    for graph in all_graphs(model.graph):
        for node in reversed(graph.node):  # a scaled one before the plain one in it
            for found, scale in _rms_normalizations(values, node):
                if _put(values, node, "RMSNormalization", found, scale, ""):
                    break


def _put(values: Values, node: NodeProto, operator: str, found: _Normalized, scale: str, shift: str) -> bool:
    weights = [values.constants.get(name) for name in (scale, shift) if name]
    size = next((list(w.dims)[-found.axes :] for w in weights if w is not None and len(w.dims) >= found.axes), None)
    known = values.shapes.get(found.x, ())[-found.axes :]
    if size is None and len(known) == found.axes and all(isinstance(n, int) for n in known):
        size = list(known)
    if size is None or any(isinstance(n, int) and n != m for n, m in zip(known, size)):
        return False
    names = []
    for name in (scale, shift) if shift else (scale,):
        array = values.array(name) if name else np.ones(size, "float32")
        if array is None or array.size != math.prod(size) or array.shape[array.ndim - found.axes :] != tuple(size):
            return False
        same = name and array.ndim == found.axes
        names.append(name if same else values.constant(array.reshape(size), node.output[0]))
    put(values, node, operator, [found.x, *names], axis=-found.axes, epsilon=found.epsilon)
    return True


def _layer_normalizations(values: Values, node: NodeProto) -> Iterator[tuple[_Normalized, str, str]]:
    if node.op_type == "Add":
        for main, rest in both_ways(node):
            yield from ((found, scale, rest) for found, scale in _scaled(values, main) if rest in values.constants)
            yield from _keras_form(values, main, rest)
    elif node.op_type in ("Mul", "Div"):
        yield from ((found, scale, "") for found, scale in _scaled(values, node.output[0]))


def _keras_form(values: Values, main: str, rest: str) -> Iterator[tuple[_Normalized, str, str]]:
    """x * s + (shift - mean * s) with s = scale / sqrt(variance + epsilon)"""
    product = values.node(main, "Mul")
    for x, s in both_ways(product) if product is not None else ():
        for deviation, scale in _factors(values, s):
            found = _inverse_deviation(values, deviation)
            if found is None or found[0].x != x:
                continue
            for shift, shifted in _shifts(values, rest):
                for a, b in both_ways(shifted):
                    if b == s and _is_negated(values, a, found[1]):
                        yield found[0], scale, shift


def _shifts(values: Values, name: str) -> Iterator[tuple[str, NodeProto]]:
    """(shift, product) of shift + product"""
    alone = values.node(name, "Mul")
    if alone is not None:
        yield "", alone
    total = values.node(name, "Add")
    for a, b in both_ways(total) if total is not None else ():
        product = values.node(a, "Mul")
        if product is not None and b in values.constants:
            yield b, product


def _is_negated(values: Values, name: str, of: str) -> bool:
    negated = values.node(name, "Neg")
    return negated is not None and negated.input[0] == of


def _scaled(values: Values, name: str) -> Iterator[tuple[_Normalized, str]]:
    """(found, scale) of scale * (x - mean) / deviation, the scale at any place or missing"""
    found = _standardized(values, name)
    if found is not None:
        yield found, ""
    for main, scale in _factors(values, name):
        found = _standardized(values, main) if scale else None
        if found is not None:
            yield found, scale
    product = values.node(name, "Mul")
    for difference, s in both_ways(product) if product is not None else ():
        for deviation, scale in _factors(values, s):
            inverse = _inverse_deviation(values, deviation)
            if scale and inverse is not None and _is_difference(values, difference, *inverse):
                yield inverse[0], scale


def _factors(values: Values, name: str) -> Iterator[tuple[str, str]]:
    """The value alone, and as a product with a constant."""
    yield name, ""
    product = values.node(name, "Mul")
    for a, b in both_ways(product) if product is not None else ():
        if b in values.constants:
            yield a, b


def _standardized(values: Values, name: str) -> _Normalized | None:
    """(x - mean) / sqrt(variance + epsilon)"""
    quotient = values.node(name, "Div")
    if quotient is not None:
        inverse = _deviation(values, quotient.input[1])
        if inverse is not None and _is_difference(values, quotient.input[0], *inverse):
            return inverse[0]
    product = values.node(name, "Mul")
    for difference, factor in both_ways(product) if product is not None else ():
        inverse = _inverse_deviation(values, factor)
        if inverse is not None and _is_difference(values, difference, *inverse):
            return inverse[0]
    return None


def _is_difference(values: Values, name: str, found: _Normalized, mean: str) -> bool:
    difference = values.node(name, "Sub")
    return difference is not None and list(difference.input) == [found.x, mean]


def _inverse_deviation(values: Values, name: str) -> tuple[_Normalized, str] | None:
    root = _inverted(values, name)
    return None if root is None else _deviation(values, root)


def _inverted(values: Values, name: str) -> str | None:
    """y of 1 / y"""
    reciprocal = values.node(name, "Reciprocal")
    if reciprocal is not None:
        return reciprocal.input[0]
    quotient = values.node(name, "Div")
    return quotient.input[1] if quotient is not None and values.scalar(quotient.input[0]) == 1 else None


def _deviation(values: Values, name: str) -> tuple[_Normalized, str] | None:
    """x and its mean's name, of sqrt(mean((x - mean(x))^2) + epsilon)"""
    found = _root_mean_square(values, name)
    difference = None if found is None else values.node(found.x, "Sub")
    if found is None or difference is None:
        return None
    x, mean = difference.input
    averaged = values.node(mean, "ReduceMean")
    if averaged is None or averaged.input[0] != x or _last_axes(values, averaged) != found.axes:
        return None
    return _Normalized(x, found.axes, found.epsilon), mean


def _root_mean_square(values: Values, name: str) -> _Normalized | None:
    """sqrt(mean(x^2) + epsilon)"""
    root = values.node(name, "Sqrt")
    total = None if root is None else values.node(root.input[0], "Add")
    for average, constant in both_ways(total) if total is not None else ():
        epsilon, averaged = values.scalar(constant), values.node(average, "ReduceMean")
        if epsilon is None or averaged is None:
            continue
        x, axes = _squared(values, averaged.input[0]), _last_axes(values, averaged)
        if x is not None and axes is not None:
            return _Normalized(x, axes, epsilon)
    return None


def _squared(values: Values, name: str) -> str | None:
    node = values.node(name, "Mul", "Pow")
    if node is None:
        return None
    twice = node.input[0] == node.input[1] if node.op_type == "Mul" else values.scalar(node.input[1]) == 2
    return node.input[0] if twice else None


def _last_axes(values: Values, node: NodeProto) -> int | None:
    """How many of the last axes are averaged over and kept as ones; None if it is others."""
    axes = values.integers(node.input[1]) if len(node.input) > 1 else attribute(node, "axes")
    rank = values.rank(node.input[0])
    if not axes or attribute(node, "keepdims", 1) != 1 or (rank is None and any(axis >= 0 for axis in axes)):
        return None
    own = sorted(axis - (rank or 0) if axis >= 0 else axis for axis in axes)
    return len(own) if own == list(range(-len(own), 0)) else None


def _rms_normalizations(values: Values, node: NodeProto) -> Iterator[tuple[_Normalized, str]]:
    """x * s with s = scale / root, x / root * scale, ..."""
    if node.op_type == "Mul":
        for a, b in both_ways(node):
            for inverse, scale in _factors(values, b):
                root = _inverted(values, inverse)
                found = None if root is None else _root_mean_square(values, root)
                if found is not None and found.x == a:
                    yield found, scale
            if b in values.constants:
                yield from ((found, b) for found in _over_root(values, a))
    elif node.op_type == "Div":
        yield from ((found, "") for found in _over_root(values, node.output[0]))


def _over_root(values: Values, name: str) -> Iterator[_Normalized]:
    quotient = values.node(name, "Div")
    if quotient is not None:
        found = _root_mean_square(values, quotient.input[1])
        if found is not None and found.x == quotient.input[0]:
            yield found
    product = values.node(name, "Mul")
    for x, inverse in both_ways(product) if product is not None else ():
        root = _inverted(values, inverse)
        found = None if root is None else _root_mean_square(values, root)
        if found is not None and found.x == x:
            yield found
