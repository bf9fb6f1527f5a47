"""Evaluation data of an accuracy check: the user's arrays or texts in batches with targets, or random inputs."""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tfseq.errors import InputError
from tfseq.exporting.signatures.random_inputs import draw
from tfseq.runtime.decoding_settings import length_name, setting_specs
from tfseq.runtime.input_binding import bind
from tfseq.runtime.manifest import Manifest, TensorSpec
from tfseq.runtime.model import Model
from tfseq.runtime.text_generation import encode, no_prompts, read

ROWS = 32  # at a time
WINDOW = 128  # tokens of text that a forward graph reads at a time
PROMPT, PROMPTS = 64, 512
WINDOWS = 512
RANDOM_BATCHES, RANDOM_ROWS, RANDOM_LENGTH = 8, 8, 32
TARGETS = "targets"
SHORTER = (16, 8, 4, 2, 1)
LONGER = 1.5  # than its reference an answer may get

Samples = Mapping[str, Any] | Iterable[Mapping[str, Any]] | Iterable[tuple[str, str]] | str | None


@dataclass(frozen=True)
class Batch:
    """Arrays to run a graph on, by input name, and what its outputs should be, by output name, where that is known."""

    feeds: Mapping[str, np.ndarray]
    targets: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class TaskData:
    """Batches to evaluate a file on.

    Attributes:
        what: they are, in words.
        unit: what a target is, such as "character" or "token".
        sequences: whether the targets are references for whole sequences of tokens, (rows, time), padded with 0.
    """

    batches: list[Batch]
    what: str
    unit: str = "target"
    sequences: bool = False


def task_data(model: Model, samples: Samples, vocabulary_size: int | None) -> TaskData:
    """Evaluation data for a file.

    Args:
        model: the file.
        samples: a text for a file that reads text. Or pairs of texts, a source and what is to become of it, for a file
            that turns sources into sequences. Or arrays by input name, or several such mappings: beside the inputs,
            `targets` for the first output, or targets under an output's name. Or None for random inputs.
        vocabulary_size: what random token ids stay below.

    Raises:
        InputError: the samples don't fit the file.
    """
    if samples is None:
        return _random(model, vocabulary_size)
    if isinstance(samples, str):
        return _text(model, samples)
    given: list[Any] = [samples] if isinstance(samples, Mapping) else list(samples)
    if not given:
        raise InputError("There are no samples; expected arrays by input name.")
    if isinstance(given[0], Mapping):
        batches = [batch for mapping in given for batch in _arrays(model.manifest, mapping)]
        what = _counted(_rows(model.manifest.inputs, batches), "sample")
        return TaskData(batches, what, sequences=_is_of_sequences(model.manifest, batches))
    return _pairs(model, given)


def _arrays(manifest: Manifest, mapping: Mapping[str, Any]) -> list[Batch]:
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
    targets = {outputs[0] if name == TARGETS else name: mapping[name] for name in mapping if name not in names}
    defaults = _greedy(manifest)
    references = targets.get(outputs[0])
    if manifest.task == "generate" and references is not None and np.ndim(references) == 2:
        defaults[length_name(manifest.inputs)] = _room(np.shape(references)[1])
    feeds = bind(manifest.inputs, (), defaults | given)
    return _cut(manifest.inputs, feeds, {name: np.asarray(value) for name, value in targets.items()})


def _cut(specs: Iterable[TensorSpec], feeds: dict[str, np.ndarray], targets: dict[str, np.ndarray]) -> list[Batch]:
    """Batches of at most ROWS rows."""
    in_batch = {spec.name for spec in specs if spec.shape[:1] == ("batch",)}
    if not in_batch:
        return [Batch(feeds, targets)]
    rows = len(feeds[next(iter(in_batch))])
    for name, target in targets.items():
        if target.shape[:1] != (rows,):
            raise InputError(f"The targets of {name} have the shape {target.shape}; expected {rows} rows.")

    def part(start):
        stop = start + ROWS
        return Batch(
            {name: array[start:stop] if name in in_batch else array for name, array in feeds.items()},
            {name: array[start:stop] for name, array in targets.items()},
        )

    return [part(start) for start in range(0, rows, ROWS)]


def _is_of_sequences(manifest: Manifest, batches: Sequence[Batch]) -> bool:
    """Whether what a file generates is judged as a whole: other targets are single tokens."""
    name = manifest.outputs[0].name
    targets = [batch.targets[name] for batch in batches if name in batch.targets]
    return manifest.task == "generate" and bool(targets) and any(target.shape[1:] != (1,) for target in targets)


def _room(longest: int) -> int:
    """How many tokens an answer may have whose reference has `longest`."""
    return 1 if longest == 1 else int(LONGER * longest) + 8


def _pairs(model: Model, pairs: Sequence[Any]) -> TaskData:
    """Sources, and what is to become of them."""
    manifest = model.manifest
    if not all(isinstance(pair, tuple | list) and [*map(type, pair)] == [str, str] for pair in pairs):
        raise InputError(f"The samples hold {pairs[0]!r}; expected pairs of texts, or arrays by input name.")
    if manifest.task != "generate" or manifest.continues_prompts or model.tokenizer is None:
        raise InputError(f"{model.path.name} does not turn texts into texts, so pairs of them can't judge it.")
    sources, references = ([pair[i] for pair in pairs] for i in (0, 1))
    ids = [encode(model.tokenizer.writer, text, "reference") for text in references]
    targets = np.zeros((len(ids), max(map(len, ids))), "int32")  # (rows, time)
    for row, tokens in zip(targets, ids):
        row[: len(tokens)] = tokens
    feeds = dict(read(manifest, model.tokenizer, sources).feeds)
    feeds |= _greedy(manifest) | {length_name(manifest.inputs): _room(targets.shape[1])}
    batches = _cut(manifest.inputs, bind(manifest.inputs, (), feeds), {manifest.outputs[0].name: targets})
    return TaskData(batches, f"{_counted(len(ids), 'pair')} of texts", "sequence", sequences=True)


def _text(model: Model, text: str) -> TaskData:
    manifest = model.manifest
    if model.tokenizer is None:
        raise InputError(f"{model.path.name} has no tokenizer to read a text with; give arrays in a .npz file.")
    ids = model.tokenizer.encode(text)  # (time,)
    unit = "character" if model.tokenizer.kind in ("characters", "code_points") else "token"
    if manifest.task == "generate":
        if not manifest.continues_prompts:
            raise InputError(f"{model.path.name} reads a source; give pairs of a source and what is to become of it.")
        return _next_of_prompts(manifest, ids, unit)
    if len(manifest.inputs) != 1 or len(manifest.inputs[0].shape) != 2:
        raise InputError(f"{model.path.name} does more than read a text; give arrays in a .npz file.")
    (spec,) = manifest.inputs
    size = spec.shape[1]
    window = size if isinstance(size, int) else min(WINDOW, len(ids) - 1)
    count = min(WINDOWS, (len(ids) - 1) // window) if window > 0 else 0
    if not count:
        raise InputError(f"The text has {len(ids)} {unit}s; expected more than {max(window, 1)}.")
    read = ids[: count * window].reshape(count, window)
    following = ids[1 : count * window + 1].reshape(count, window)
    feeds = bind(manifest.inputs, (), {spec.name: read})
    batches = _cut(manifest.inputs, feeds, {manifest.outputs[0].name: following})
    return TaskData(batches, f"{_counted(read.size, unit)} of text, {window} at a time", unit)


def _next_of_prompts(manifest: Manifest, ids: np.ndarray, unit: str) -> TaskData:
    """The next token at each of many places in a text, as greedy decoding predicts it."""
    length = min(PROMPT, len(ids) - 1)
    if length < 1:
        raise InputError(f"The text has {len(ids)} {unit}s; expected at least 2.")
    ends = np.linspace(length, len(ids) - 1, min(PROMPTS, len(ids) - length)).astype(int)
    prompts = np.stack([ids[end - length : end] for end in ends])  # (prompts, length)
    batches = _prompt_batches(manifest, prompts, ids[ends][:, None])
    return TaskData(batches, f"the next {unit} at {_counted(len(ends), 'place')} of a text", unit)


def _prompt_batches(manifest: Manifest, prompts: np.ndarray, following: np.ndarray | None) -> list[Batch]:
    lengths = np.full(len(prompts), prompts.shape[1])
    named = {"prompt": prompts, "prompt_length": lengths, length_name(manifest.inputs): 1}
    names = [spec.name for spec in manifest.inputs]
    if not {*named} <= {*names}:
        raise InputError(f"{manifest.name} takes {', '.join(names)}, not a prompt; give arrays in a .npz file.")
    feeds = bind(manifest.inputs, (), _greedy(manifest) | named)
    return _cut(manifest.inputs, feeds, {} if following is None else {manifest.outputs[0].name: following})


def _greedy(manifest: Manifest) -> dict[str, Any]:
    """Decoding settings under which only the model decides: no sampling."""
    decoding = manifest.decoding or {}
    settings = {name: decoding[name] for name in setting_specs(manifest) if name in decoding}
    return settings | ({"temperature": 0.0} if "temperature" in settings else {})


def _random(model: Model, vocabulary_size: int | None) -> TaskData:
    manifest = model.manifest
    random = np.random.default_rng(0)
    ids = _input_ids(model, vocabulary_size)
    if manifest.task == "generate" and manifest.continues_prompts:
        positions = (manifest.decoding or {}).get("max_positions") or RANDOM_LENGTH + 1
        prompts = random.choice(ids, (RANDOM_BATCHES * RANDOM_ROWS, max(min(RANDOM_LENGTH, positions - 1), 1)))
        batches = _prompt_batches(manifest, prompts, None)
        return TaskData(batches, f"the next token after {_counted(len(prompts), 'random prompt')}")
    drawn = manifest.sources if manifest.task == "generate" else manifest.inputs
    length = RANDOM_LENGTH if manifest.task == "generate" else _taken_length(model, len(ids))
    feeds = [draw(drawn, len(ids), RANDOM_ROWS, length, seed) for seed in range(RANDOM_BATCHES)]
    if manifest.task != "generate":
        batches = [Batch(feed) for feed in feeds]
        return TaskData(batches, _counted(_rows(manifest.inputs, batches), "random input"))
    settings = _greedy(manifest) | {length_name(manifest.inputs): 1}
    if manifest.takes_prefix:
        settings |= no_prompts(RANDOM_ROWS)
    texts = {spec.name for spec in drawn if spec.dtype == "int32"}
    feeds = [{name: ids[array] if name in texts else array for name, array in feed.items()} for feed in feeds]
    batches = [Batch(bind(manifest.inputs, (), feed | settings)) for feed in feeds]
    return TaskData(batches, f"the first token for {_counted(_rows(manifest.inputs, batches), 'random source')}")


def _taken_length(model: Model, vocabulary_size: int) -> int:
    """RANDOM_LENGTH, or a shorter one that the file takes, whose table of positions may end before."""
    for length in (RANDOM_LENGTH, *SHORTER):
        with contextlib.suppress(InputError):
            model.run(draw(model.manifest.inputs, vocabulary_size, 1, length))
            return length
    return RANDOM_LENGTH


def _input_ids(model: Model, vocabulary_size: int | None) -> np.ndarray:
    """What the file's inputs hold for its tokens: token ids, or code points; 0 for token 0."""
    if model.tokenizer is None:
        return np.arange(vocabulary_size or 2, dtype="int32")
    if model.tokenizer.kind == "code_points":
        symbols = model.manifest.tokenizer["symbols"]  # type: ignore[index]
        return np.array([0, *(ord(symbol) for symbol in symbols if len(symbol) == 1)], "int32")
    return np.arange(model.tokenizer.vocabulary_size, dtype="int32")


def _rows(specs: Iterable[TensorSpec], batches: list[Batch]) -> int:
    in_batch = next((spec.name for spec in specs if spec.shape[:1] == ("batch",)), None)
    return len(batches) if in_batch is None else sum(len(batch.feeds[in_batch]) for batch in batches)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
