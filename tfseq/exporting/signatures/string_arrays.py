"""Arrays of strings: TensorFlow's of bytes as text."""

import numpy as np


def as_text(array: np.ndarray) -> np.ndarray:
    """Strings of bytes as text; other arrays as they are."""
    if array.dtype.kind != "O":
        return array
    texts = [x.decode("utf-8", "replace") if isinstance(x, bytes) else x for x in array.flat]
    return np.array(texts, object).reshape(array.shape)
