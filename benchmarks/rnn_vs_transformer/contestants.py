"""The language models compared: recurrent networks and a Transformer of about as many parameters each."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from benchmarks.harness.failures import Failure, attempt
from benchmarks.harness.rounds import Run

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

NAMES = {"lstm": "LSTM", "gru": "GRU", "rnn": "vanilla RNN", "irnn": "IRNN", "transformer": "Transformer"}
LENGTHS = tuple(32 * 2**i for i in range(8))  # 32 to 4,096

Results = dict[str, dict[int, list[float]]]  # contestant -> length -> what each round measured
Outcomes = dict[str, list[Run]]  # part and contestant -> whether it could run, or why not

Result = TypeVar("Result")


@dataclass(frozen=True)
class Size:
    """What makes a Transformer, and recurrent networks with as many parameters.

    Attributes:
        units: width of the Transformer's states, and of everyone's embeddings.
        heads: of each attention.
        depth: blocks, or recurrent layers.
        recurrent_units: by cell, chosen for equal parameters.
    """

    units: int
    heads: int
    depth: int
    recurrent_units: Mapping[str, int]


LARGE = Size(256, 4, 2, {"lstm": 320, "gru": 376})  # 1.6 million parameters
SMALL = Size(64, 2, 1, {"lstm": 80, "gru": 96, "rnn": 192, "irnn": 192})  # 55 thousand


def language_model(name: str, size: Size, vocabulary: int, dtype: str = "auto") -> Any:
    """Built, with random weights; "auto" computes in bfloat16 where this machine multiplies it faster, as we train."""
    from tfseq.models import RecurrentLanguageModel, TransformerLanguageModel
    from tfseq.training import training_precision

    dtype = training_precision(dtype)
    if name == "transformer":
        model = TransformerLanguageModel(
            vocabulary, size.units, size.heads, depth=size.depth, positions="sinusoidal", dtype=dtype
        )
    else:
        units = size.recurrent_units[name]
        model = RecurrentLanguageModel(vocabulary, units, size.depth, name, embedding_dim=size.units, dtype=dtype)
    model.build((None, None))
    return model


def one_thread() -> None:
    """Has TensorFlow compute on one thread. Before its first operation."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def session(path: Any, **options: Any) -> Any:
    """An ONNX Runtime session on one thread."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    for name, value in options.items():
        setattr(settings, name, value)
    return onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])


def tried(what: str, run: Callable[[], Result], outcomes: Outcomes) -> Result | None:
    """What a contestant returns; None if it raised. Notes in `outcomes` whether it did, and why."""
    found = attempt(run)
    if isinstance(found, Failure):
        outcomes[what] = [found]
        print(f"{what} could not run: {found.reason}", file=sys.stderr, flush=True)
        return None
    outcomes[what] = [{}]
    return found
