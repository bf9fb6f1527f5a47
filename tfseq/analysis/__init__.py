"""Analysis of models and their outputs: gradient flow, hidden units, attention maps, BLEU and CIDEr, sheet music.

Functions return data and plot it. Each module is loaded when it is first used.
"""

from importlib import import_module
from typing import Any

__all__ = [
    "abc_to_midi",
    "attention_maps",
    "attention_rollout",
    "bleu",
    "caption_attention",
    "cider",
    "convolution",
    "glimpse_boxes",
    "gradient_flow",
    "gradient_remedies",
    "hidden_units",
    "music_notation",
    "teacher_forcing",
]

_FORMER_NAMES = {  # of version 0.1, which still work
    "forcing": "teacher_forcing",
    "glimpses": "glimpse_boxes",
    "rollout": "attention_rollout",
    "score": "music_notation",
    "tunes": "abc_to_midi",
    "where_it_looked": "caption_attention",
}


def __getattr__(name: str) -> Any:
    name = _FORMER_NAMES.get(name, name)
    if name in __all__:
        return import_module(f"tfseq.analysis.{name}")
    raise AttributeError(f"module 'tfseq.analysis' has no attribute {name!r}")
