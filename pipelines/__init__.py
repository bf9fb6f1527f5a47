"""One short script per architecture: data -> model -> fit -> evaluate -> export -> verify."""

from tfseq.terminal import import_tensorflow_quietly

try:
    import_tensorflow_quietly()  # which greets on stderr otherwise
except ModuleNotFoundError:
    raise SystemExit('Pipelines train with TensorFlow, which is not installed: pip install "tfseq[train]".') from None
