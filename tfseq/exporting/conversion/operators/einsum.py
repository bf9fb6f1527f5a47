"""Handler of Einsum: as matrix products, which runtimes prepare weights for and run faster than Einsum."""

from collections import Counter
from string import ascii_letters
from typing import Any

import numpy as np

from tfseq.exporting.conversion.operators.builder import Builder


def _einsum(graph: Any, node: Any, name: str, args: Any) -> None:
    op = Builder(graph, node)
    equation = node.get_attr("equation").s.decode().replace(" ", "")
    terms, result = _without_ellipsis(equation, [op.shape(x) for x in node.input]) or ([], "")
    product = _Product(op, dict(zip(node.input, terms))) if len(set(node.input)) == len(terms) else None
    if len(node.input) == 2 and node.input[0] == node.input[1] and terms:
        copy = op("Identity", node.input[1])
        graph.set_shape(copy, graph.get_shape(node.input[0]))
        graph.set_dtype(copy, graph.get_dtype(node.input[0]))
        product = _Product(op, {node.input[0]: terms[0], copy: terms[1]})
    if product is None or not _simple(terms, result):
        for attribute in ("N", "T"):
            node.attr.pop(attribute, None)
        return
    op.finish(product.compute(result))


HANDLERS = {"Einsum": _einsum}


def _simple(terms: list[str], result: str) -> bool:
    """One or two tensors without diagonals."""
    repeats = any(len(set(term)) < len(term) for term in (*terms, result))
    return 1 <= len(terms) <= 2 and not repeats and set(result) <= set("".join(terms))


def _without_ellipsis(equation: str, shapes: list[list | None]) -> tuple[list[str], str] | None:
    """Letters for the axes that `...` stands for, and the right side if it is left out; None if ranks are unknown."""
    left, _, result = equation.partition("->")
    terms = left.split(",")
    if "->" not in equation:
        counts = Counter(left.replace(",", "").replace("...", ""))
        result = ("..." if "..." in left else "") + "".join(sorted(x for x, n in counts.items() if n == 1))
    if "..." not in equation:
        return terms, result
    if any(shape is None for shape in shapes):
        return None
    free = [letter for letter in ascii_letters if letter not in equation]
    ranks = [len(shape or ()) - len(term) + 3 if "..." in term else 0 for term, shape in zip(terms, shapes)]
    letters = "".join(free[: max(ranks)])
    expanded = [term.replace("...", letters[len(letters) - rank :]) for term, rank in zip(terms, ranks)]
    return expanded, result.replace("...", letters)


class _Product:
    """Sums over products of up to two tensors, given by name with a letter for each axis."""

    def __init__(self, op: Builder, terms: dict[str, str]):
        self.op, self.terms = op, terms
        self.sizes: dict[str, int] = {}
        self.sources: dict[str, tuple[str, int]] = {}
        for name, term in terms.items():
            shape = op.shape(name) or [None] * len(term)
            for axis, (letter, size) in enumerate(zip(term, shape)):
                if size is not None:
                    self.sizes[letter] = max(size, self.sizes.get(letter, 1))
                if letter not in self.sources or size is None:
                    self.sources[letter] = name, axis

    def compute(self, result: str) -> str:
        """The name of the tensor with the axes `result`."""
        tensors = list(self.terms.items())
        if len(tensors) == 1:
            name, letters = self._sum_out(*tensors[0], keep=result)
            return self._transposed(name, letters, result)
        (_, first), (_, second) = tensors
        a, a_letters = self._sum_out(*tensors[0], keep=result + second)
        b, b_letters = self._sum_out(*tensors[1], keep=result + first)
        order = {letter: i for i, letter in enumerate(result)}
        own = [[order[x] for x in mine if x not in others] for mine, others in ((first, second), (second, first))]
        if own[0] and own[1] and min(own[1]) < min(own[0]):  # the rows of the result are the second's
            a, a_letters, b, b_letters = b, b_letters, a, a_letters
        batch = "".join(x for x in result if x in a_letters and x in b_letters)
        summed = [x for x in a_letters if x in b_letters and x not in result]
        if self.op.value(a) is not None:
            summed.sort(key=b_letters.index)
        left = "".join(x for x in result if x in a_letters and x not in b_letters)
        right = "".join(x for x in result if x in b_letters and x not in a_letters)
        if not summed:
            return self._outer(a, a_letters, b, b_letters, batch, left, right, result)
        sums = "".join(summed)
        rows = [left] if batch or not left else list(left)
        a = self._grouped(
            self._transposed(a, a_letters, batch + left + sums), [*batch, *left, *sums], [*batch, *rows, sums]
        )
        b = self._grouped(
            self._transposed(b, b_letters, batch + sums + right), [*batch, *sums, *right], [*batch, sums, right]
        )
        c = self.op("MatMul", a, b)
        c = self._grouped(c, [*batch, *rows, right], [*batch, *left, *right])
        return self._transposed(c, batch + left + right, result)

    def _sum_out(self, name: str, letters: str, keep: str) -> tuple[str, str]:
        gone = [axis for axis, letter in enumerate(letters) if letter not in keep]
        if gone:
            name = self.op("ReduceSum", name, np.array(gone), keepdims=0)
        return name, "".join(x for x in letters if x in keep)

    def _outer(self, a, a_letters, b, b_letters, batch, left, right, result):
        a = self._transposed(a, a_letters, batch + left)
        b = self._transposed(b, b_letters, batch + right)
        if right:
            a = self.op("Unsqueeze", a, np.arange(len(batch + left), len(batch + left + right)))
        if left:
            b = self.op("Unsqueeze", b, np.arange(len(batch), len(batch + left)))
        return self._transposed(self.op("Mul", a, b), batch + left + right, result)

    def _transposed(self, name: str, letters: str, wanted: str) -> str:
        return name if letters == wanted else self.op("Transpose", name, perm=[letters.index(x) for x in wanted])

    def _grouped(self, name: str, before: list[str], after: list[str]) -> str:
        """Reshapes from one grouping of axes to another of the same order; "" is an axis of size 1."""
        if before == after:
            return name
        constants = [
            int(np.prod([self.sizes.get(x, -1) for x in group])) if self._known(group) else None for group in after
        ]
        unknown = [i for i, size in enumerate(constants) if size is None]
        for i in unknown[:]:
            if len(unknown) > 1 and i < len(before) and before[i] == after[i]:
                constants[i] = 0
                unknown.remove(i)
        if len(unknown) <= 1:
            for i in unknown:
                constants[i] = -1
            return self.op("Reshape", name, np.array(constants, "int64"))
        parts = [np.array([size], "int64") if size else self._size(after[i]) for i, size in enumerate(constants)]
        return self.op("Reshape", name, self.op("Concat", *parts, axis=0))

    def _known(self, group: str) -> bool:
        return all(letter in self.sizes for letter in group)

    def _size(self, group: str) -> str:
        product = ""
        for letter in group:
            name, axis = self.sources[letter]
            size = self.op("Slice", self.op("Shape", name), np.array([axis]), np.array([axis + 1]), np.array([0]))
            product = self.op("Mul", product, size) if product else size
        return product
