"""One short script per architecture: data -> model -> fit -> evaluate -> export -> verify."""

import sys

from tfseq.terminal import import_tensorflow_quietly

LISTED = sys.orig_argv[-2:] == ["-m", "pipelines"]  # `python -m pipelines`, which trains nothing

if not LISTED:
    try:
        import_tensorflow_quietly()  # which greets on stderr otherwise
    except ModuleNotFoundError:
        raise SystemExit(
            'Pipelines train with TensorFlow, which is not installed: pip install "tfseq[train]".'
        ) from None
