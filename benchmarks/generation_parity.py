"""Token parity of every generator with every decoding strategy: ONNX Runtime and SavedModel beside Keras.

    pip install -e ".[train-cpu]"
    python -m benchmarks.generation_parity

Models with random weights, larger than their initializers give them, so that sources and prompts matter and sequences
end here and there. Each file generates from the 224 random prompts or sources that `tfseq.verify` draws, ragged, with
settings of its own for each batch. For Node, `make test-js` compares 200 inputs per file with Python's answers.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.harness.failures import Failure, attempt
from benchmarks.harness.machine import machine

VOCABULARY = 40
SIZE: dict[str, Any] = {"units": 64, "heads": 4, "hidden": 128, "depth": 2}


def strategies() -> dict[str, Any]:
    """Decoding strategies by name."""
    import tfseq

    return {
        "greedy": tfseq.Greedy(),
        "beam 4": tfseq.Beam(4),
        "sampling": tfseq.Sample(temperature=0.9, top_k=20, top_p=0.95, seed=7),
    }


def generators() -> dict[str, Callable[[], Any]]:
    """What builds each generator, by name."""
    from tfseq.models import AttentionSeq2Seq, RecurrentLanguageModel, Transformer, TransformerLanguageModel

    return {
        "RecurrentLanguageModel, rnn": partial(RecurrentLanguageModel, VOCABULARY, 64, 2, "rnn"),
        "RecurrentLanguageModel, irnn": partial(RecurrentLanguageModel, VOCABULARY, 64, 2, "irnn"),
        "RecurrentLanguageModel, lstm": partial(RecurrentLanguageModel, VOCABULARY, 64, 2, "lstm"),
        "RecurrentLanguageModel, gru": partial(RecurrentLanguageModel, VOCABULARY, 64, 2, "gru"),
        "TransformerLanguageModel": partial(TransformerLanguageModel, VOCABULARY, **SIZE, end=2),
        "AttentionSeq2Seq, network": partial(AttentionSeq2Seq, VOCABULARY, units=48, alignment="network"),
        "AttentionSeq2Seq, dot": partial(AttentionSeq2Seq, VOCABULARY, units=48, alignment="dot"),
        "AttentionSeq2Seq, general": partial(AttentionSeq2Seq, VOCABULARY, units=48, alignment="general"),
        "AttentionSeq2Seq, cosine": partial(AttentionSeq2Seq, VOCABULARY, units=48, alignment="cosine"),
        "Transformer, pre-norm": partial(Transformer, VOCABULARY, **SIZE),
        "Transformer, post-norm": partial(Transformer, VOCABULARY, **SIZE, norm="post", positions="learned"),
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    print(machine(), end="\n\n")
    print("| model | strategy | in | sequences | identical | ties | worst score error |\n|---|---|---|---|---|---|---|")
    failed = 0
    for name, make in generators().items():
        model = varied(make)
        for strategy, decode in strategies().items():
            for kind, file in (("ONNX Runtime", "model.onnx"), ("SavedModel", "saved_model")):
                report = attempt(partial(verified, model, file, decode))
                failed += isinstance(report, Failure) or not report.passed
                print(f"| {name} | {strategy} | {kind} | {_cells(report)} |", flush=True)
    sys.exit(f"{failed} files differ, or could not be made." if failed else 0)


def verified(model: Any, file: str, decode: Any) -> Any:
    """The report on a file of the model that is written for it."""
    import tfseq

    with tempfile.TemporaryDirectory() as folder:
        tfseq.export(model, Path(folder, file), decode=decode, verify=False)
        return tfseq.verify(Path(folder, file), model)


def _cells(report: Any) -> str:
    if isinstance(report, Failure):
        return f"could not run: {report.reason} | | |"
    checks = {check["name"]: check for check in report.to_json()["checks"]}
    tokens, scores = checks["tokens"], checks["scores"]
    return f"{tokens['sequences']} | {tokens['identical']} | {tokens['ties']} | {scores['worst_relative']:.1e}"


def varied(make: Callable[[], Any]) -> Any:
    """The model with weights that tell its inputs apart."""
    import keras

    keras.utils.set_random_seed(0)
    model = make()
    tokens = np.ones((1, 2), "int32")
    model(tokens if model.start is None else {"source": tokens, "target": tokens})
    for variable in model.trainable_variables:
        if len(variable.shape) == 2 and "recurrent" not in variable.name:  # doubled, a vanilla RNN would be chaotic
            variable.assign(2.0 * variable)
    return model


if __name__ == "__main__":
    main()
