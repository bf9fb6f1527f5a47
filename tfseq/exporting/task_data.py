"""What a file is judged on: the user's arrays or text, cut into cases that it can run, or else random inputs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfseq.errors import InputError
from tfseq.exporting.cases import draw
from tfseq.runtime.arguments import bind
from tfseq.runtime.manifest import Manifest, TensorSpec
from tfseq.runtime.model import Model

ROWS = 32  # at a time
WINDOW = 128  # symbols of text that a forward graph reads at a time
PROMPT, PROMPTS = 64, 512
WINDOWS = 512
RANDOM_CASES, RANDOM_ROWS, RANDOM_LENGTH = 8, 8, 32
TARGETS = "targets"

Samples = Mapping[str, Any] | Iterable[Mapping[str, Any]] | str | None


@dataclass(frozen=True)
class Case:
    """Arrays to run a graph on, by input name, and what its outputs should be, by output name, where that is known."""

    feeds: Mapping[str, np.ndarray]
    targets: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskData:
    """Cases, and in words what they are. `symbol` is what a target is, such as "character"."""

    cases: list[Case]
    what: str
    symbol: str = "target"


def task_data(model: Model, samples: Samples, vocabulary_size: int | None) -> TaskData:
    """Cases for a file.

    Args:
        model: the file.
        samples: a text for a file that reads text. Or arrays by input name, or several such mappings: beside the
            inputs, `targets` for the first output, or targets under an output's name. Or None for random inputs.
        vocabulary_size: what random symbols stay below.

    Raises:
        InputError: the samples don't fit the file.
    """
    if samples is None:
        return _random(model, vocabulary_size)
    if isinstance(samples, str):
        return _text(model, samples)
    mappings = [samples] if isinstance(samples, Mapping) else list(samples)
    cases = [case for mapping in mappings for case in _arrays(model.manifest, mapping)]
    if not cases:
        raise InputError("There are no samples; expected arrays by input name.")
    return TaskData(cases, _counted(_rows(model.manifest.inputs, cases), "given case"))


def _arrays(manifest: Manifest, mapping: Mapping[str, Any]) -> list[Case]:
    names = [spec.name for spec in manifest.inputs]
    outputs = [spec.name for spec in manifest.outputs]
    unknown = [name for name in mapping if name not in (*names, *outputs, TARGETS)]
    if unknown:
        wanted = ", ".join(map(str, manifest.inputs))
        raise InputError(
            f"The samples hold {', '.join(unknown)}; expected the inputs {wanted}, and {TARGETS} or "
            f"{', '.join(outputs)} for what the outputs should be."
        )
    given = {name: value for name, value in mapping.items() if name in names}
    feeds = bind(manifest.inputs, (), _greedy(manifest) | given)
    targets = {outputs[0] if name == TARGETS else name: mapping[name] for name in mapping if name not in names}
    return _cut(manifest.inputs, feeds, {name: np.asarray(value) for name, value in targets.items()})


def _cut(specs: Iterable[TensorSpec], feeds: dict[str, np.ndarray], targets: dict[str, np.ndarray]) -> list[Case]:
    """Cases of at most ROWS rows."""
    in_batch = {spec.name for spec in specs if spec.shape[:1] == ("batch",)}
    if not in_batch:
        return [Case(feeds, targets)]
    rows = len(feeds[next(iter(in_batch))])
    for name, target in targets.items():
        if target.shape[:1] != (rows,):
            raise InputError(f"The targets of {name} have the shape {target.shape}; expected {rows} rows.")

    def part(start):
        stop = start + ROWS
        return Case(
            {name: array[start:stop] if name in in_batch else array for name, array in feeds.items()},
            {name: array[start:stop] for name, array in targets.items()},
        )

    return [part(start) for start in range(0, rows, ROWS)]


def _text(model: Model, text: str) -> TaskData:
    manifest = model.manifest
    if model.tokenizer is None:
        raise InputError(f"{model.path.name} has no tokenizer to read a text with; give arrays in a .npz file.")
    ids = model.tokenizer.encode(text)  # (time,)
    symbol = "character" if model.tokenizer.kind == "characters" else "token"
    if manifest.task == "generate":
        return _next_of_prompts(manifest, ids, symbol)
    if len(manifest.inputs) != 1 or len(manifest.inputs[0].shape) != 2:
        raise InputError(f"{model.path.name} does more than read a text; give arrays in a .npz file.")
    (spec,) = manifest.inputs
    size = spec.shape[1]
    window = size if isinstance(size, int) else min(WINDOW, len(ids) - 1)
    count = min(WINDOWS, (len(ids) - 1) // window) if window > 0 else 0
    if not count:
        raise InputError(f"The text has {len(ids)} {symbol}s; expected more than {max(window, 1)}.")
    read = ids[: count * window].reshape(count, window)
    following = ids[1 : count * window + 1].reshape(count, window)
    feeds = bind(manifest.inputs, (), {spec.name: read})
    cases = _cut(manifest.inputs, feeds, {manifest.outputs[0].name: following})
    return TaskData(cases, f"{_counted(read.size, symbol)} of text, {window} at a time", symbol)


def _next_of_prompts(manifest: Manifest, ids: np.ndarray, symbol: str) -> TaskData:
    """What follows each of many places in a text, if the likeliest symbol is taken."""
    length = min(PROMPT, len(ids) - 1)
    if length < 1:
        raise InputError(f"The text has {len(ids)} {symbol}s; expected at least 2.")
    ends = np.linspace(length, len(ids) - 1, min(PROMPTS, len(ids) - length)).astype(int)
    prompts = np.stack([ids[end - length : end] for end in ends])  # (prompts, length)
    cases = _prompt_cases(manifest, prompts, ids[ends][:, None])
    return TaskData(cases, f"the next {symbol} at {_counted(len(ends), 'place')} of a text", symbol)


def _prompt_cases(manifest: Manifest, prompts: np.ndarray, following: np.ndarray | None) -> list[Case]:
    named = {"prompt": prompts, "prompt_length": np.full(len(prompts), prompts.shape[1]), "new_tokens": 1}
    names = [spec.name for spec in manifest.inputs]
    if not {*named} <= {*names}:
        raise InputError(f"{manifest.name} takes {', '.join(names)}, not a prompt; give arrays in a .npz file.")
    feeds = bind(manifest.inputs, (), _greedy(manifest) | named)
    return _cut(manifest.inputs, feeds, {} if following is None else {manifest.outputs[0].name: following})


def _greedy(manifest: Manifest) -> dict[str, Any]:
    """Settings of generation under which only the model decides."""
    if manifest.decoding is None:
        return {}
    names = {spec.name for spec in manifest.inputs}
    settings = {name: value for name, value in manifest.decoding.items() if name in names}
    return settings | ({"temperature": 0.0} if "temperature" in names else {})


def _random(model: Model, vocabulary_size: int | None) -> TaskData:
    manifest = model.manifest
    size = vocabulary_size if model.tokenizer is None else model.tokenizer.vocabulary_size
    random = np.random.default_rng(0)
    if manifest.task == "generate":
        prompts = random.integers(0, size or 2, (RANDOM_CASES * RANDOM_ROWS, RANDOM_LENGTH))
        cases = _prompt_cases(manifest, prompts, None)
        return TaskData(cases, f"the next symbol after {_counted(len(prompts), 'random prompt')}")
    feeds = [draw(manifest.inputs, size, RANDOM_ROWS, RANDOM_LENGTH, seed) for seed in range(RANDOM_CASES)]
    cases = [Case(feed) for feed in feeds]
    return TaskData(cases, _counted(_rows(manifest.inputs, cases), "random case"))


def _rows(specs: Iterable[TensorSpec], cases: list[Case]) -> int:
    in_batch = next((spec.name for spec in specs if spec.shape[:1] == ("batch",)), None)
    return len(cases) if in_batch is None else sum(len(case.feeds[in_batch]) for case in cases)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
