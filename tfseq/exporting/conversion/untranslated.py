"""What could not be converted, in a sentence: which layer, what it does that has no translation, what to do."""

import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import keras
import tensorflow as tf

from tfseq.exporting.signatures.failures import called_method
from tfseq.reasons import first_line

_PARTS = ("Real", "Imag", "ComplexAbs", "Angle", "Conj")  # of complex numbers that another operator makes
_ASSERTED = "make_sure failure"
_REWRITE = "Leave it out of the model that you export, or write it with operations that ONNX has."
WORDS = {
    "Svd": "a singular value decomposition",
    "Qr": "a QR decomposition",
    "Eig": "eigenvalues",
    "SelfAdjointEigV2": "eigenvalues of symmetric matrices",
    "Lu": "an LU decomposition of matrices that are not square",
    "MatrixSquareRoot": "the square root of a matrix",
    "MatrixExponential": "the exponential of a matrix",
    "MatrixLogarithm": "the logarithm of a matrix",
    "PyFunc": "a Python function",
    "EagerPyFunc": "a Python function",
    "Bitcast": "the bits of float16, bfloat16 or float64 as another type",
}


@dataclass(frozen=True)
class Untranslated:
    """A TensorFlow operator without a translation.

    Attributes:
        operator: its type; "" where it is not known.
        node: its name in the graph, with scopes.
        reason: why, where there is a translation that did not take it.
    """

    operator: str
    node: str
    reason: str = ""


class LayerScopes:
    """The name scopes that layers open in the graph that is traced."""

    def __init__(self) -> None:
        self._layers: dict[str, keras.Layer] = {}
        self._failure: tuple[BaseException, keras.Layer] | None = None

    @contextlib.contextmanager
    def recorded(self) -> Iterator[None]:
        """While functions are traced."""
        usual, scopes = keras.Layer._open_name_scope, self

        @contextlib.contextmanager
        def scope(layer: keras.Layer) -> Iterator[None]:
            with usual(layer):
                scopes._layers.setdefault(tf.get_current_name_scope(), layer)
                try:
                    yield
                except Exception as error:
                    if scopes._failure is None:
                        scopes._failure = error, layer  # the innermost one
                    raise

        with mock.patch.object(keras.Layer, "_open_name_scope", scope):
            yield

    def layer_of(self, node: str) -> keras.Layer | None:
        """The innermost layer that added a node."""
        parts = node.split("/")
        scopes = ("/".join(parts[:i]) for i in range(len(parts) - 1, 0, -1))
        return next((self._layers[scope] for scope in scopes if scope in self._layers), None)

    def refusal(self, problems: Sequence[Untranslated | str]) -> str:
        """A sentence for each problem, and what to do."""
        found: dict[str, None] = {}
        problems = _with_causes(problems)
        operators = {problem.operator for problem in problems if isinstance(problem, Untranslated)}
        for problem in problems:
            if isinstance(problem, Untranslated) and problem.operator in _PARTS and not operators <= set(_PARTS):
                continue
            if isinstance(problem, str):
                found[f"The model can't be converted to ONNX: {problem}."] = None
                continue
            subject, operator = _subject(self.layer_of(problem.node)), problem.operator
            named = f"{WORDS[operator]} (TensorFlow's {operator})" if operator in WORDS else f"TensorFlow's {operator}"
            if problem.reason:
                reason = problem.reason.rstrip(".")
                found[f"{subject} computes {named}, which can't be converted to ONNX here: {reason}."] = None
            else:
                found[f"{subject} computes {named}, which has no translation to ONNX."] = None
        return " ".join([*found, _REWRITE])

    def failure(self, error: BaseException) -> str:
        """Of tracing, which raised the error."""
        layer = None if self._failure is None else self._failure[1]
        method = called_method(error)
        where = f" in {method}" if method else ""
        if layer is None:
            return f"The model can't be converted to ONNX{where}: {first_line(error)}"
        return f"{_subject(layer)} can't be traced for ONNX{where}: {first_line(error)}"


def _with_causes(problems: Sequence[Untranslated | str]) -> Sequence[Untranslated | str]:
    """Where a rewriter left operators to handlers that assert they never meet them, what it said is the reason."""
    said = next((problem for problem in problems if isinstance(problem, str)), None)
    follow = [p for p in problems if isinstance(p, Untranslated) and p.reason.startswith(_ASSERTED)]
    if said is None or not follow:
        return problems
    return [replace(p, reason=said) if p in follow else p for p in problems if p is not said]


def _subject(layer: keras.Layer | None) -> str:
    if layer is None:
        return "The model"
    return f"The {'model' if isinstance(layer, keras.Model) else 'layer'} {layer.name} ({type(layer).__name__})"


class Problems(logging.Handler):
    """Collects the errors that tf2onnx logs, and goes on from."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[Untranslated | str] = []

    def emit(self, record: logging.LogRecord) -> None:
        given: Any = record.args if isinstance(record.args, tuple) else ()
        if record.msg.startswith("Tensorflow op [%s: %s]"):
            self.found.append(Untranslated(given[1], given[0]))
        elif record.msg.startswith("Failed to convert node"):
            operator = re.search(r"OP=(\w+)", str(given[2]))
            raised = record.exc_info[1] if record.exc_info else None
            self.found.append(Untranslated(operator.group(1) if operator else "operator", given[0], first_line(raised)))
        elif record.msg.startswith("rewriter"):
            if not self.found:  # it leaves a graph that the others fail on
                self.found.append(first_line(given[1]).rstrip("."))
        elif not record.msg.startswith("Unsupported ops"):
            self.found.append(record.getMessage().strip().splitlines()[0].rstrip("."))
