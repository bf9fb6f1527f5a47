"""Parity reports: the errors that checks found, as a table for people and as JSON for the manifest."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tfseq.runtime.manifest_table import describe_parity


@dataclass(frozen=True)
class NumberCheck:
    """Arrays compared.

    Attributes:
        name: what was compared.
        of, against: the two that were.
        cases: inputs tried.
        worst_absolute: largest |a - b|; infinite where shapes, NaNs or texts differ.
        worst_relative: largest |a - b| / max(1, |b|, the lower quartile of the output's |b|).
        tolerance: the largest worst_relative that passes.
        where: the case and place of the worst.
        on: the inputs, in words: how many samples and random ones, of which sizes.
    """

    name: str
    of: str
    against: str
    cases: int
    worst_absolute: float
    worst_relative: float
    tolerance: float
    where: str
    on: str = ""

    @property
    def passed(self) -> bool:
        return self.worst_relative <= self.tolerance


@dataclass(frozen=True)
class TokenCheck:
    """Generated sequences compared.

    Attributes:
        name: what was compared.
        of, against: the two that were.
        sequences: how many, over settings and ragged batches of prompts or sources.
        identical: how many agree in every token and in their end.
        ties: how many part where the model itself scores both tokens the same, up to the tolerance of its logits; of a
            beam search, how many are as good as the one they should be.
        where: the first difference that is no tie.
    """

    name: str
    of: str
    against: str
    sequences: int
    identical: int
    ties: int
    where: str

    @property
    def passed(self) -> bool:
        return self.identical + self.ties == self.sequences


@dataclass(frozen=True)
class ParityReport:
    """What was compared, and how it came out. `str(report)` is a table."""

    checks: tuple[NumberCheck | TokenCheck, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def to_json(self, measured: bool = True) -> dict[str, Any]:
        """As the manifest's `parity`.

        Args:
            measured: with what differs from run to run: the last digits of errors, and how many cases time allowed.
        """
        left_out = () if measured else _MEASURED
        checks = [
            {name: value for name, value in asdict(check).items() if name not in left_out} for check in self.checks
        ]
        return {"passed": self.passed, "checks": checks}

    def __str__(self) -> str:
        return describe_parity(self.to_json())


_MEASURED = ("cases", "worst_absolute", "worst_relative", "where", "on")


class CheckedSizes:
    """On how many inputs a graph was compared, and of which sizes. `str` says it in words.

    Attributes:
        samples, random: how many of the user's, and how many others.
    """

    def __init__(self) -> None:
        self.samples = self.random = 0
        self._sizes: dict[str, set[int]] = {}

    def add(self, sizes: Mapping[str, int]) -> None:
        """A random input, with the sizes of its free axes by name."""
        self.random += 1
        for axis, size in sizes.items():
            self._sizes.setdefault(axis, set()).add(size)

    def __str__(self) -> str:
        counts = [f"{n} {what}" for n, what in ((self.samples, "of samples"), (self.random, "random")) if n]
        axes = [f"{axis} {', '.join(map(str, sorted(sizes)))}" for axis, sizes in self._sizes.items()]
        return "; ".join([" and ".join(counts), *axes])


class WorstError:
    """The largest errors over cases, and where they are.

    Args:
        tolerance: the largest relative error that passes.
    """

    def __init__(self, tolerance: float):
        self.tolerance = tolerance
        self.cases, self.absolute, self.relative, self.where = 0, 0.0, 0.0, "none"
        self._seen = ""

    def add(self, got: np.ndarray, expected: np.ndarray, case: str, output: str) -> None:
        self.cases += case != self._seen
        self._seen = case
        absolute, relative, place = _errors(got, expected)
        self.absolute = max(self.absolute, absolute)
        if relative > self.relative or self.where == "none":
            self.relative, self.where = relative, f"{case}: {output}{list(place)}"
            numbers = expected.dtype.kind != "O" and got.shape == expected.shape
            if np.isinf(relative) and numbers and not np.isfinite(expected[tuple(place)]):
                self.where += ", where the output of the Keras model itself is not finite"

    def check(self, name: str, of: str, against: str) -> NumberCheck:
        return NumberCheck(name, of, against, self.cases, self.absolute, self.relative, self.tolerance, self.where)


def _errors(got: np.ndarray, expected: np.ndarray) -> tuple[float, float, Sequence[int]]:
    if got.shape != expected.shape:
        return np.inf, np.inf, [*got.shape]
    if not expected.size:
        return 0.0, 0.0, []
    if expected.dtype.kind == "O":
        differs = np.asarray(got != expected)
        place = np.unravel_index(np.argmax(differs), differs.shape)
        error = np.inf if differs.any() else 0.0
        return error, error, [int(i) for i in place]
    a, b = got.astype("float64"), expected.astype("float64")
    with np.errstate(invalid="ignore"):
        absolute = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        absolute = np.where(np.isnan(absolute), np.inf, absolute)
        # An element near zero among large ones, such as a frequency of a long sound, carries their rounding errors. The
        # quartile, not a mean: a few large values, such as -1e9 at masked places, are no measure for the others.
        usual = np.quantile(np.abs(b[np.isfinite(b)]), 0.25) if np.isfinite(b).any() else 1.0
        relative = absolute / np.maximum(max(1.0, usual), np.where(np.isfinite(b), np.abs(b), 1.0))
    place = np.unravel_index(np.argmax(relative), relative.shape)
    return float(absolute.max()), float(relative.max()), [int(i) for i in place]
