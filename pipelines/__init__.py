"""One short script per architecture: data -> model -> fit -> evaluate -> export -> verify."""

import os

# Before TensorFlow is loaded, or it greets on stderr.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # its default, said aloud, so that it need not say so
