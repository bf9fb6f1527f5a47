"""Handlers that refuse TensorFlow's random numbers: those that a file can draw are traced as products of its seed."""

from typing import Any


def _refuse(graph: Any, node: Any, name: str, args: Any) -> None:
    raise ValueError("ONNX has no random numbers that a seed decides. In a model's call, draw them by keras.random.")


HANDLERS = dict.fromkeys(
    (
        "RandomUniform",
        "RandomUniformInt",
        "RandomStandardNormal",
        "TruncatedNormal",
        "Multinomial",
        "RandomGamma",
        "RandomShuffle",
        "StatelessRandomUniform",
        "StatelessRandomUniformV2",
        "StatelessRandomUniformIntV2",
        "StatelessRandomNormal",
        "StatelessRandomNormalV2",
        "StatelessTruncatedNormalV2",
        "StatelessMultinomial",
        "RngReadAndSkip",
    ),
    _refuse,
)
