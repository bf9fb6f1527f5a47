"""Contestants in turn, round by round, and the table of what they measured.

Machines are shared and noisy, so each round runs everyone once and only ratios, taken round by round, count. A
contestant that cannot run is a row that says why.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from benchmarks.harness.failures import Failure, attempt, failure_of_process
from benchmarks.harness.machine import machine

KEPT_LINES = 200  # of a contestant's stderr, to find in them why it failed

Run = Mapping[str, float] | Failure
Results = Mapping[str, Sequence[Run]]


def take_turns(contestants: Mapping[str, Sequence[str]], rounds: int) -> dict[str, list[Run]]:
    """Runs `python -m MODULE ARGUMENTS` for every contestant, round by round, each in a process of its own.

    Args:
        contestants: name -> module and arguments. Its last line of output is a JSON object of numbers.
        rounds: how often everyone runs.

    Returns:
        name -> what each round measured, or why it did not.
    """
    results: dict[str, list[Run]] = {name: [] for name in contestants}
    for round_ in range(rounds):
        for name, command in contestants.items():
            run = _run(command)
            results[name].append(run)
            said = f"could not run: {run.reason}" if isinstance(run, Failure) else run
            print(f"round {round_ + 1}: {name}: {said}", file=sys.stderr, flush=True)
    return results


def _run(command: Sequence[str]) -> Run:
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    said: deque[str] = deque(maxlen=KEPT_LINES)
    with tempfile.TemporaryFile() as output:  # a pipe could fill up while stderr is read
        with subprocess.Popen(
            [sys.executable, "-m", *command],
            env=environment,
            stdout=output,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        ) as process:
            for line in process.stderr or ():
                said.append(line.rstrip())
                print(said[-1], file=sys.stderr, flush=True)
        output.seek(0)
        printed = output.read().decode(errors="replace")
    return failure_of_process(process.returncode, said) if process.returncode else _measurements(printed)


def _measurements(printed: str) -> Run:
    last = printed.strip().rpartition("\n")[2]
    try:
        numbers = json.loads(last)
    except ValueError:
        numbers = None
    if isinstance(numbers, dict) and all(isinstance(number, int | float) for number in numbers.values()):
        return numbers
    return Failure(f"its last line was no JSON object of numbers: {last[:40]!r}" if last else "it printed nothing")


def run_here(measure: str, run: Callable[[], float]) -> Run:
    """What a contestant in this process measured, or why it did not."""
    value = attempt(run)
    return value if isinstance(value, Failure) else {measure: value}


def report(results: Results, measure: str, peer: str, unit: str) -> str:
    """A Markdown table: median and spread of a measure, and its ratio to a peer, taken round by round.

    Raises:
        SystemExit: nobody has the measure.
    """
    require_any(results, measure)
    rows = [f"| | {unit} | min to max | ratio to {peer} | min to max |", "|---|---|---|---|---|"]
    for name, runs in results.items():
        if measured := values(runs, measure):
            rows.append(f"| {name} | {_spread(measured)} | {_spread(ratios(runs, results[peer], measure))} |")
        else:
            rows.append(f"| {name} | could not run: {_reasons(runs, measure)[0]} | | | |")
    lines = [machine(), "", *rows]
    if not values(results[peer], measure):
        lines += ["", f"No ratios: {peer} could not run ({_reasons(results[peer], measure)[0]})."]
    partly = {name: runs for name, runs in results.items() if values(runs, measure)}
    return "\n".join([*lines, *failed_lines(partly, measure)])


def values(runs: Sequence[Run], measure: str) -> list[float]:
    """Of the rounds that have the measure."""
    return [value for value in (_value(run, measure) for run in runs) if value is not None]


def ratios(runs: Sequence[Run], of_peer: Sequence[Run], measure: str) -> list[float]:
    """Of the rounds in which both have the measure."""
    pairs = [(_value(a, measure), _value(b, measure)) for a, b in zip(runs, of_peer, strict=True)]
    return [a / b for a, b in pairs if a is not None and b is not None]


def failed_lines(results: Results, measure: str | None = None) -> list[str]:
    """Markdown to put under a table: an item for each contestant that failed in a round; nothing if none did.

    Args:
        results: of `take_turns`.
        measure: that each run should have; None where it may have any.
    """
    lines = []
    for name, runs in results.items():
        if reasons := _reasons(runs, measure):
            often = "" if len(reasons) == len(runs) else f" in {len(reasons)} of {len(runs)} rounds"
            lines.append(f"- {name} could not run{often}: {reasons[0]}.")
    return ["", *lines] if lines else []


def require_any(results: Results, measure: str | None = None) -> None:
    """Ends the command with one line and exit code 1 if nobody could run."""
    reasons = {name: _reasons(runs, measure) for name, runs in results.items()}
    if all(len(reasons[name]) == len(runs) for name, runs in results.items()):
        raise SystemExit(f"Nobody could run: {'; '.join(f'{name}: {why[0]}' for name, why in reasons.items() if why)}.")


def _reasons(runs: Sequence[Run], measure: str | None) -> list[str]:
    """Why rounds have no measurement, one reason for each that has none."""
    return [
        run.reason if isinstance(run, Failure) else f"it did not measure {measure}"
        for run in runs
        if isinstance(run, Failure) or (measure is not None and measure not in run)
    ]


def _value(run: Run, measure: str) -> float | None:
    return None if isinstance(run, Failure) else run.get(measure)


def _spread(numbers: Sequence[float]) -> str:
    if not numbers:
        return " | "
    form = ",.0f" if min(numbers) > 100 else ".3f"
    return f"{statistics.median(numbers):{form}} | {min(numbers):{form}} to {max(numbers):{form}}"
