"""Train any classic sequence architecture in Keras and ship it as one verified ONNX file.

Names load on first use, so `import tfseq` is instant and the edge never loads TensorFlow.
"""

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "export": "tfseq.exporting",
    "verify": "tfseq.exporting",
    "quantize": "tfseq.exporting",
    "ParityReport": "tfseq.exporting",
    "Beam": "tfseq.decoding",
    "Greedy": "tfseq.decoding",
    "Sample": "tfseq.decoding",
    "generate": "tfseq.decoding",
}
_PACKAGES = ("data", "decoding", "errors", "exporting", "layers", "models", "runtime", "training")

__all__ = [*_HOME, *_PACKAGES]


def __getattr__(name: str):
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _PACKAGES:
        return import_module(f"tfseq.{name}")
    raise AttributeError(f"module 'tfseq' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
