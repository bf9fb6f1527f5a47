"""tf2onnx handlers and rewriters for TensorFlow operators that tf2onnx 1.17 converts badly or not at all."""

from collections.abc import Callable
from typing import Any

from tfseq.exporting.conversion.operators import (
    comparisons,
    convolutions,
    diagonals,
    einsum,
    elementary_functions,
    images,
    integers,
    one_hot,
    random_numbers,
    vectors,
)
from tfseq.exporting.conversion.operators.complex_numbers import as_pairs

__all__ = ["handlers", "rewriters"]


def handlers() -> dict[str, Any]:
    """For `custom_op_handlers` of tf2onnx."""
    ideas = (
        *(comparisons, convolutions, diagonals, einsum, elementary_functions),
        *(images, integers, one_hot, random_numbers, vectors),
    )
    return {name: (handler, []) for idea in ideas for name, handler in idea.HANDLERS.items()}


def rewriters() -> list[Callable[..., Any]]:
    """For `custom_rewriter` of tf2onnx: they run over TensorFlow's operators, before these are translated."""
    return [as_pairs]
