"""Train any classic sequence architecture in Keras and ship it as one verified ONNX file.

Names load on first use, so `import tfseq` is instant and the edge never loads TensorFlow.
"""

import os
from importlib import import_module

# ONNX Runtime writes a device id and events below HOME when it opens a model, unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

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
_PACKAGES = ("data", "decoding", "errors", "exporting", "hub", "layers", "models", "runtime", "training")

__all__ = [*_HOME, *_PACKAGES]


def __getattr__(name: str):
    if name not in _HOME and name not in _PACKAGES:
        raise AttributeError(f"module 'tfseq' has no attribute {name!r}")
    try:
        return getattr(import_module(_HOME[name]), name) if name in _HOME else import_module(f"tfseq.{name}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("tfseq"):
            raise
        return _without(error.name, name)


def _without(package: str, name: str):
    """What stands for a name that needs a package which is not installed."""
    from tfseq.errors import MissingPackageError

    told = f'tfseq.{name} needs {package}, which is not installed: pip install "tfseq[train]".'
    if name in _PACKAGES:
        raise MissingPackageError(told)

    def missing(*_, **__):
        raise MissingPackageError(told)

    return missing


def __dir__():
    return sorted([*globals(), *__all__])
