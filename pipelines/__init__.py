"""One short script per architecture: data -> model -> fit -> evaluate -> export -> verify."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is loaded, or it greets on stderr
