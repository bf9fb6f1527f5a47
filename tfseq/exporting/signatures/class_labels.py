"""Checks of class labels: distinct names, and a graph whose output holds the classes' probabilities."""

from collections.abc import Sequence

import numpy as np

from tfseq.decoding import Strategy
from tfseq.errors import ExportError
from tfseq.exporting.signatures.accepted_inputs import AcceptedInputs
from tfseq.exporting.signatures.signature import Run
from tfseq.runtime.manifest import TensorSpec

ROUNDING = 1e-3


def check_names(labels: Sequence[str], decode: Strategy | None) -> None:
    """
    Raises:
        ExportError: labels are not different names, or the model is to generate.
    """
    if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        raise ExportError(f"labels is {labels!r}; expected the name of each class: [...].")
    twice = [label for label in dict.fromkeys(labels) if list(labels).count(label) > 1]
    if twice:
        raise ExportError(f"Two classes are called {twice[0]!r}; each needs a name of its own.")
    if labels and decode is not None:
        raise ExportError("labels name what a forward graph tells apart; a file that writes (decode) has a tokenizer.")


def check_probabilities(
    labels: Sequence[str],
    accepted: AcceptedInputs | None,
    outputs: Sequence[TensorSpec],
    run: Run,
) -> None:
    """
    Args:
        accepted: by the model, to try; where there are labels.
        outputs: of the graph; the labels are those of the first one.

    Raises:
        ExportError: that one has another number of classes, or does not give probabilities.
    """
    if not labels:
        return
    output = outputs[0]
    classes = output.shape[-1] if output.shape else 1
    if classes != len(labels) and not (classes == 1 and len(labels) == 2):
        raise ExportError(f"There are {len(labels)} labels, and the output {output} has {classes} classes.")
    case = next(iter(accepted.points()), None) if accepted else None
    if case is None:
        return  # whatever the model takes, it has not been told
    values = run(case.feeds)[output.name]
    adds_up = classes == 1 or np.allclose(values.sum(-1), 1, atol=ROUNDING)
    if values.min() < 0 or values.max() > 1 + ROUNDING or not adds_up:
        raise ExportError(
            f"The output {output} is to be the probabilities of {', '.join(labels)}, and is something else: it has "
            f"values from {values.min():.3g} to {values.max():.3g}. "
            "End the model in a softmax, or a sigmoid of one unit."
        )
