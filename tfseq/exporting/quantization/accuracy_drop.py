"""The accuracy drop of a quantized file: metrics of its outputs, beside those of the original."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from tfseq.errors import InputError
from tfseq.exporting.quantization.evaluation_data import Batch, TaskData

METRICS = ("change", "similarity", "accuracy", "cross_entropy", "squared_error")
Metric = Callable[[Mapping[str, np.ndarray], Mapping[str, np.ndarray]], float]
Run = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Score:
    """One metric of the original and of the quantized file.

    Attributes:
        metric: one of METRICS, or "given" for the caller's own.
        what: it is, for people.
        before, after: of the original and of the quantized file.
        loss: the accuracy drop: how much worse the quantized file is; what a tolerance bounds.
    """

    metric: str
    what: str
    before: float
    after: float
    loss: float


def compare(before: Run, after: Run, data: TaskData, metric: Metric | None = None) -> list[Score]:
    """Runs both files on all batches.

    Args:
        before, after: the original and the quantized file: arrays by input name to arrays by output name.
        data: the batches.
        metric: of the caller: (outputs by name, targets by name), each of all batches, to a number.

    Returns:
        `change` of the outputs, and what the targets allow: accuracy and cross-entropy for classes, the squared error
        for float targets; for sequences the similarity to their references, 1 - edits / length of the longer one, and
        the share that is identical to its reference. Negative class targets are left out.

    Raises:
        InputError: targets and outputs have shapes that don't go together.
    """
    change, tasks, kept = _Change(), _Tasks(data.unit, data.sequences), []
    for batch in data.batches:
        old, new = (_of_full_length(run(batch.feeds), batch) for run in (before, after))
        change.add(old, new)
        tasks.add(batch, old, new)
        if metric:
            kept.append((old, new, batch.targets))
    scores = [*tasks.scores(), *change.scores()]
    if metric:
        old, new, targets = (_joined(part) for part in zip(*kept))
        first, second = float(metric(old, targets)), float(metric(new, targets))
        name = getattr(metric, "__name__", "given metric").replace("_", " ")
        scores.insert(0, Score("given", name, first, second, abs(second - first)))
    return scores


def _of_full_length(outputs: Mapping[str, np.ndarray], batch: Batch) -> Mapping[str, np.ndarray]:
    """What was generated padded with 0 to the length that it could have had."""
    if "max_length" not in batch.feeds or "tokens" not in outputs:
        return outputs
    missing = int(batch.feeds["max_length"]) - outputs["tokens"].shape[1]

    def padded(name: str, array: np.ndarray) -> np.ndarray:
        if name not in ("tokens", "attention"):
            return array
        return np.pad(array, [(0, 0), (0, missing), *[(0, 0)] * (array.ndim - 2)])

    return {name: padded(name, array) for name, array in outputs.items()}


def _joined(parts: Iterable[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    parts = list(parts)
    return {name: np.concatenate([np.atleast_1d(part[name]) for part in parts]) for name in parts[0]}


class _Change:
    """Of float outputs, the norm of the difference by that of the original; of other outputs, the share that differ."""

    def __init__(self) -> None:
        self.difference = self.norm = self.worst = 0.0
        self.differ = self.discrete = 0

    def add(self, old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray]) -> None:
        for name, a in old.items():
            b = new[name]
            if a.shape != b.shape:
                raise InputError(f"The output {name} has the shape {b.shape}; the original's has {a.shape}.")
            if a.dtype.kind != "f":
                self.differ += int((a != b).sum())
                self.discrete += a.size
                continue
            same = (a == b) | (np.isnan(a) & np.isnan(b))
            with np.errstate(invalid="ignore"):
                difference = np.where(same, 0, b.astype("float64") - a)
            difference[np.isnan(difference)] = np.inf
            self.difference += float((difference**2).sum())
            self.norm += float((np.where(np.isfinite(a), a, 0).astype("float64") ** 2).sum())
            self.worst = max(self.worst, float(np.abs(difference).max(initial=0)))

    def scores(self) -> list[Score]:
        scores = []
        if self.norm or self.difference:
            share = np.sqrt(self.difference) / (np.sqrt(self.norm) or 1)
            what = f"change of the outputs (norm; largest {self.worst:.2g})"
            scores.append(Score("change", what, 0.0, float(share), float(share)))
        if self.discrete:
            differ = self.differ / self.discrete
            scores.append(Score("change", "outputs identical to the original's", 1.0, 1 - differ, differ))
        return scores or [Score("change", "change of the outputs", 0.0, 0.0, 0.0)]


class _Tasks:
    """Sums of task metrics over batches, by metric and output."""

    def __init__(self, unit: str, sequences: bool):
        self.unit, self.sequences = unit, sequences
        self.sums: dict[tuple[str, str], list[float]] = {}  # (metric, output) -> before, after, count

    def add(self, batch: Batch, old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray]) -> None:
        for name, target in batch.targets.items():
            metrics = _sequence_metrics(target) if self.sequences else _task_metrics(name, old[name], target)
            for metric, values in metrics.items():
                self._add(metric, name, values(old[name]), values(new[name]))

    def _add(self, metric: str, output: str, old: np.ndarray, new: np.ndarray) -> None:
        sums = self.sums.setdefault((metric, output), [0.0, 0.0, 0])
        for i, value in enumerate((old.sum(), new.sum(), old.size)):
            sums[i] += float(value)

    def scores(self) -> list[Score]:
        outputs = {output for _, output in self.sums}
        scores = []
        for (metric, output), (old, new, count) in self.sums.items():
            before, after = (old / count, new / count) if count else (0.0, 0.0)
            losses = {
                "similarity": before - after,
                "accuracy": before - after,
                "cross_entropy": after - before,
                "squared_error": (after - before) / max(before, 1e-12),
            }
            what = {
                "similarity": "similarity to the references",
                "accuracy": f"{self.unit}s right" if self.unit != "target" else "accuracy",
                "cross_entropy": f"nats per {self.unit}",
                "squared_error": "mean squared error",
            }[metric]
            of = f" of {output}" if len(outputs) > 1 else ""
            scores.append(Score(metric, what + of, before, after, losses[metric]))
        order = ("similarity", "cross_entropy", "accuracy", "squared_error")
        return sorted(scores, key=lambda score: order.index(score.metric))


def _sequence_metrics(references: np.ndarray) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Of sequences of tokens, (rows, time) and padded with 0 as their references are."""

    def similarity(tokens: np.ndarray) -> np.ndarray:
        pairs = [(_without_padding(a), _without_padding(b)) for a, b in zip(tokens, references)]
        return np.array([1 - edit_distance(a, b) / max(len(a), len(b), 1) for a, b in pairs])

    return {"similarity": similarity, "accuracy": lambda tokens: similarity(tokens) == 1}


def _without_padding(row: np.ndarray) -> np.ndarray:
    return row[: int(row.nonzero()[0][-1]) + 1] if row.any() else row[:0]


def edit_distance(a: np.ndarray, b: np.ndarray) -> int:
    """The fewest insertions, deletions and replacements that turn `a` into `b` (Levenshtein, 1966)."""
    columns = np.arange(len(b) + 1)
    distances = columns  # of the beginnings of b from the beginning of a that was read
    for i, token in enumerate(a):
        replaced = np.minimum(distances[:-1] + (b != token), distances[1:] + 1)
        row = np.concatenate([[i + 1], replaced])
        distances = np.minimum.accumulate(row - columns) + columns  # insertions
    return int(distances[-1])


def _task_metrics(name: str, output: np.ndarray, target: np.ndarray) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """What to compute of an output, given its targets: functions from an output to a number per target."""
    if output.dtype.kind in "iub" and target.shape == output.shape:
        return {"accuracy": lambda o: o == target}
    if target.dtype.kind == "f" and target.shape == output.shape:
        if output.ndim and output.shape[-1] > 1 and np.isin(target, (0, 1)).all() and (target.sum(-1) == 1).all():
            return _class_metrics(output, target.argmax(-1))  # one-hot
        return {"squared_error": lambda o: (o.astype("float64") - target) ** 2}
    if target.dtype.kind in "iub" and output.dtype.kind == "f" and output.ndim:
        if target.shape == (*output.shape[:-1], 1) and output.shape[-1] > 1:
            target = target[..., 0]
        if target.shape == output.shape[:-1] and output.shape[-1] > 1:
            if target.size and target.max() >= output.shape[-1]:
                raise InputError(f"A target of {name} is {target.max()}; its classes are 0 to {output.shape[-1] - 1}.")
            return _class_metrics(output, target)
        if output.shape[-1] == 1 and target.shape in (output.shape, output.shape[:-1]):
            return _class_metrics(output, target.reshape(output.shape[:-1]))
    raise InputError(
        f"The targets of {name} are {target.dtype} {target.shape} and its values {output.dtype} {output.shape}: "
        "expected a class for each position of all axes but the last, or floats of the same shape."
    )


def _class_metrics(example: np.ndarray, target: np.ndarray) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """For classes (..., classes), or (..., 1) for yes or no; logits, or probabilities if `example` looks like them."""
    counted = target >= 0
    binary = example.shape[-1] == 1
    within = bool(((example >= 0) & (example <= 1)).all())
    probabilities = within and (binary or bool(np.allclose(example.sum(-1), 1, atol=1e-3)))

    def log_probabilities(output: np.ndarray) -> np.ndarray:
        x = output[counted].astype("float64")  # (targets, classes)
        if probabilities:
            x = np.concatenate([1 - x, x], -1) if binary else x
            return np.log(np.clip(x, 1e-7, 1))
        x = np.concatenate([np.zeros_like(x), x], -1) if binary else x
        return x - np.logaddexp.reduce(x, axis=-1, keepdims=True)

    def accuracy(output: np.ndarray) -> np.ndarray:
        return log_probabilities(output).argmax(-1) == target[counted]

    def cross_entropy(output: np.ndarray) -> np.ndarray:
        return -np.take_along_axis(log_probabilities(output), target[counted].astype(int)[:, None], -1)

    return {"accuracy": accuracy, "cross_entropy": cross_entropy}
