"""Contestants in turn: machines are shared and noisy, so each round runs everyone once and only ratios count."""

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import date


def take_turns(contestants: Mapping[str, Sequence[str]], rounds: int) -> dict[str, list[dict[str, float]]]:
    """Runs `python -m MODULE ARGUMENTS` for every contestant, round by round, each in a process of its own.

    Args:
        contestants: name -> module and arguments. Its last line of output is a JSON object of numbers.
        rounds: how often everyone runs.

    Returns:
        name -> what each run measured.
    """
    results: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    for round_ in range(rounds):
        for name, command in contestants.items():
            process = subprocess.run(
                [sys.executable, "-m", *command], env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
            results[name].append(json.loads(process.stdout.strip().splitlines()[-1]))
            print(f"round {round_ + 1}: {name}: {results[name][-1]}", file=sys.stderr, flush=True)
    return results


def report(results: Mapping[str, list[dict[str, float]]], measure: str, peer: str, unit: str) -> str:
    """A Markdown table: median and spread of a measure, and its ratio to a peer, taken round by round."""
    rows = [f"| | {unit} | min to max | ratio to {peer} | min to max |", "|---|---|---|---|---|"]
    peers = [run[measure] for run in results[peer]]
    for name, runs in results.items():
        values = [run[measure] for run in runs]
        ratios = [value / of_peer for value, of_peer in zip(values, peers, strict=True)]
        rows.append(f"| {name} | {_spread(values)} | {_spread(ratios)} |")
    return "\n".join([machine(), "", *rows])


def _spread(values: list[float]) -> str:
    form = ",.0f" if min(values) > 100 else ".3f"
    return f"{statistics.median(values):{form}} | {min(values):{form}} to {max(values):{form}}"


def machine() -> str:
    """The date and what this ran on, in one line."""
    return f"{date.today()}, {os.cpu_count()} cores, {_processor()}, Python {platform.python_version()}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
