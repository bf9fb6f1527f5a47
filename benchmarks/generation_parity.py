"""Every generator with every strategy, in ONNX Runtime and as a SavedModel, beside Keras: are the symbols the same?

    pip install -e ".[train-cpu]"
    python -m benchmarks.generation_parity

Models with random weights, larger than their initializers give them, so that sources and prompts matter and sequences
end here and there. Each file generates from the 224 held-out prompts or sources that `tfseq.verify` draws, ragged, with
settings of its own for each batch. For Node, `make test-js` compares 200 inputs per file with Python's answers.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import tfseq
from tfseq.models import AttentionSeq2Seq, Generator, RecurrentLanguageModel, Transformer, TransformerLanguageModel

VOCABULARY = 40
STRATEGIES = {
    "greedy": tfseq.Greedy(),
    "beam 4": tfseq.Beam(4),
    "sampling": tfseq.Sample(temperature=0.9, top_k=20, top_p=0.95, seed=7),
}
SIZE: dict[str, Any] = {"units": 64, "heads": 4, "hidden": 128, "depth": 2}
MODELS: dict[str, Callable[[], Generator]] = {
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
    print("| model | strategy | in | sequences | identical | ties | worst score error |\n|---|---|---|---|---|---|---|")
    failed = 0
    for name, make in MODELS.items():
        model = varied(make)
        for strategy, decode in STRATEGIES.items():
            for kind, file in (("ONNX Runtime", "model.onnx"), ("SavedModel", "saved_model")):
                with tempfile.TemporaryDirectory() as folder:
                    tfseq.export(model, Path(folder, file), decode=decode, verify=False)
                    report = tfseq.verify(Path(folder, file), model)
                checks = {check["name"]: check for check in report.to_json()["checks"]}
                tokens, scores = checks["tokens"], checks["scores"]
                failed += not report.passed
                print(
                    f"| {name} | {strategy} | {kind} | {tokens['sequences']} | {tokens['identical']} | "
                    f"{tokens['ties']} | {scores['worst_relative']:.1e} |",
                    flush=True,
                )
    sys.exit(f"{failed} files differ." if failed else 0)


def varied(make: Callable[[], Generator]) -> Generator:
    """The model with weights that tell its inputs apart."""
    keras.utils.set_random_seed(0)
    model = make()
    symbols = np.ones((1, 2), "int32")
    model(symbols if model.start is None else {"source": symbols, "target": symbols})
    for variable in model.trainable_variables:
        if len(variable.shape) == 2 and "recurrent" not in variable.name:  # doubled, a vanilla RNN would be chaotic
            variable.assign(2.0 * variable)
    return model


if __name__ == "__main__":
    main()
