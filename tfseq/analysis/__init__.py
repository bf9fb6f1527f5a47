"""Looking inside: what a model or an operation does, as data that a function returns and a picture that a person reads.

Each module is loaded when it is first used.
"""

from importlib import import_module
from typing import Any

__all__ = [
    "attention_maps",
    "bleu",
    "cider",
    "convolution",
    "forcing",
    "glimpses",
    "gradient_flow",
    "gradient_remedies",
    "hidden_units",
    "rollout",
    "score",
    "tunes",
    "where_it_looked",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return import_module(f"tfseq.analysis.{name}")
    raise AttributeError(f"module 'tfseq.analysis' has no attribute {name!r}")
