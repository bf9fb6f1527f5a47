"""Lookup layers of a model, found without TensorFlow."""

from typing import Any

import keras
from keras.src.layers.preprocessing.index_lookup import IndexLookup


def lookup_layers(model: keras.Model) -> list[Any]:
    """The layers of a model that look values up, those inside other layers among them."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, IndexLookup)]
