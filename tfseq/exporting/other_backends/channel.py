"""`Channel`: messages between the process that has the model and the one that has TensorFlow."""

import pickle
from types import ModuleType
from typing import Any, BinaryIO

try:
    import cloudpickle
except ModuleNotFoundError:
    cloudpickle = None

_pickler: ModuleType = cloudpickle or pickle


class Channel:
    """Python objects over two pipes.

    Args:
        inward, outward: binary files.
    """

    def __init__(self, inward: BinaryIO, outward: BinaryIO):
        self._inward, self._outward = inward, outward

    def send(self, kind: str, content: Any = None) -> None:
        """
        Raises:
            OSError: the other process has ended.
        """
        self._outward.write(pickled((kind, content)))
        self._outward.flush()

    def receive(self) -> tuple[str, Any]:
        """
        Raises:
            EOFError: the other process has ended.
        """
        return pickle.load(self._inward)


def pickled(content: Any) -> bytes:
    """As bytes. What a script or a notebook defines goes along as a whole, and needs cloudpickle."""
    return _pickler.dumps(content, pickle.HIGHEST_PROTOCOL)


def pickles_definitions() -> bool:
    """Whether classes and functions that no other process can import can be pickled."""
    return _pickler is not pickle
