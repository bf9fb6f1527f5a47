"""Generation cases: ragged batches of prompts or sources with decoding settings, random or from sample inputs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfseq.decoding import Strategy
from tfseq.exporting.signatures.generator_inputs import (
    PROMPT,
    PROMPT_LENGTH,
    loop_inputs,
    source_length,
    source_specs,
    source_vocabulary_sizes,
)
from tfseq.exporting.signatures.sample_inputs import as_list, by_name
from tfseq.models.generator import Generator
from tfseq.runtime.manifest import TensorSpec
from tfseq.runtime.text_generation import no_prompts

BATCHES = (1, 3, 8, 20)
LONGEST = (12, 1, 5, 24, 40)  # prompt or source of a batch
LONGEST_PREFIX = 8  # prompt beside a source
CASES = 28  # of 8 rows on average
FEWEST = 4  # cases of a large model, of at most
MOST_ROWS = 8
IN_FULL = 3_000_000  # parameters of the largest model that generates them all: a step reads every weight
MAX_LENGTHS = (32, 32, 24, 5, 1)


def affordable(model: Generator) -> float:
    """The `effort` of a model's check: all up to IN_FULL parameters, and then as many decode steps as cost the same."""
    parameters = sum(math.prod(weight.shape) for weight in model.weights)
    return min(1.0, IN_FULL / max(parameters, 1))


@dataclass(frozen=True)
class GenerationCase:
    """One batch to generate from.

    Attributes:
        inputs: prompt and prompt_length, or the sources, or these together, by name, (batch, ...) each.
        strategy: with its settings.
        max_length: new tokens at most.
        chosen: the settings that are not the strategy's own.
    """

    inputs: Mapping[str, np.ndarray]
    strategy: Strategy
    max_length: int
    chosen: Mapping[str, Any]

    @property
    def rows(self) -> int:
        return len(next(iter(self.inputs.values())))

    def begun(self, model: Generator) -> tuple[np.ndarray, np.ndarray]:
        """What rows read before their first new token, (batch, time) int32, and how many tokens that is, (batch,)."""
        if "prompt_length" in self.inputs:
            prompt, lengths = self.inputs["prompt"], self.inputs["prompt_length"]
        else:
            prompt, lengths = np.zeros((self.rows, 0), "int32"), np.zeros(self.rows, "int32")
        if model.start is None:
            return prompt, lengths
        return np.pad(prompt[:, : lengths.max()], ((0, 0), (1, 0)), constant_values=model.start), lengths + 1

    def begun_of(self, model: Generator, row: int) -> np.ndarray:
        """What a row reads before its first new token, (time,) int32."""
        tokens, lengths = self.begun(model)
        return tokens[row, : lengths[row]]

    def feeds(self, model: Generator) -> dict[str, np.ndarray]:
        """All inputs of a generation graph, by name."""
        settings = self.strategy.settings
        arrays = {name: np.asarray(settings[name], dtype) for name, dtype in self.strategy.dtypes(model).items()}
        return {**self.inputs, "max_length": np.asarray(self.max_length, "int32"), **arrays}

    def __str__(self) -> str:
        sizes = ", ".join(f"{name} {array.shape}" for name, array in self.inputs.items() if array.ndim > 1)
        settings = "".join(f", {name} {value}" for name, value in self.chosen.items())
        return f"{sizes}{settings}, max_length {self.max_length}"


def generation_cases(
    model: Generator,
    strategy: Strategy,
    readable: Sequence[int] | None = None,
    count: int = CASES,
    effort: float = 1.0,
    ragged: bool = True,
    prefix: bool = False,
) -> Iterator[GenerationCase]:
    """Random batches of several sizes and lengths; the first has the strategy's own settings.

    Args:
        readable: the token ids that prompts and sources of tokens may hold; None for all.
        count: of batches.
        effort: the share of the decode steps to run, from 0 to 1: fewer batches of fewer rows and shorter sequences.
        ragged: whether the prompts of a batch differ in length.
        prefix: whether sources have prompts beside them, also empty ones.
    """
    share = math.sqrt(effort)
    tried = {name: strategy.tried(name) for name in strategy.dtypes(model)}
    for case in range(max(math.ceil(count * share), min(count, FEWEST))):
        random = np.random.default_rng(case)
        chosen: dict[str, Any] = {}
        if case:
            some = {name: values for name, values in tried.items() if values}
            chosen |= {name: values[int(random.integers(len(values)))] for name, values in some.items()}
            chosen |= {name: int(random.integers(-(2**31), 2**31)) for name in tried if name not in some}
        room = model.max_positions or max(LONGEST) + max(MAX_LENGTHS)
        longest = min(math.ceil(share * LONGEST[case % len(LONGEST)]), max(room - 1, 1))
        batch = min(BATCHES[case % len(BATCHES)], MOST_ROWS if effort < 1 else max(BATCHES))
        inputs = _inputs(model, batch, longest, random, readable)
        if "prompt_length" in inputs and not ragged:
            inputs["prompt_length"] = np.full_like(inputs["prompt_length"], inputs["prompt"].shape[1])
        read = longest if model.start is None else 1  # before the first new token
        if prefix:
            inputs |= _prompts(model, batch, max(min(longest, LONGEST_PREFIX, room - 2), 0), random, readable)
            read += int(inputs["prompt_length"].max())
        most = math.ceil(share * MAX_LENGTHS[case // 2 % len(MAX_LENGTHS)])
        max_length = max(min(most, room - read), 1)  # `call` reads it all, too
        yield GenerationCase(inputs, strategy.replaced(**chosen), max_length, chosen)


def sample_cases(
    model: Generator, strategy: Strategy, samples: Any, ragged: bool = True, prefix: bool = False
) -> list[GenerationCase]:
    """The user's sample inputs as generation cases, with the strategy's own settings.

    Args:
        samples: sources as the model's `encode` takes them, or prompts: an array (batch, time), or a dictionary that
            also has `prompt_length`; or several of these. Sources that may have prompts beside them (`prefix`) are a
            dictionary with `prompt` and `prompt_length` where they do.
        ragged: whether the prompts of a batch may differ in length; else each row is a batch of its own.
        prefix: whether sources may have prompts beside them.

    Raises:
        ExportError: they do not fit.
    """
    specs = loop_inputs(model)
    given = []
    for sample in as_list(samples, len(specs)):
        if model.start is None and not (isinstance(sample, Mapping) and PROMPT_LENGTH.name in sample):
            prompt = by_name(sample, (PROMPT,))["prompt"]
            given.append({"prompt": prompt, "prompt_length": np.full(len(prompt), prompt.shape[1], "int32")})
        elif prefix and isinstance(sample, Mapping) and PROMPT_LENGTH.name in sample:
            given.append(by_name(sample, loop_inputs(model, prefix)))
        else:
            sources = by_name(sample, specs)
            given.append(sources | (no_prompts(len(next(iter(sources.values())))) if prefix else {}))
    if not ragged and model.start is None:
        given = [
            {"prompt": prompt[None, :length], "prompt_length": np.array([length], "int32")}
            for inputs in given
            for prompt, length in zip(inputs["prompt"], inputs["prompt_length"])
        ]

    def room(inputs: Mapping[str, np.ndarray]) -> int:
        read = int(inputs["prompt_length"].max()) if "prompt_length" in inputs else 0
        read += model.start is not None
        return (
            MAX_LENGTHS[0] if model.max_positions is None else max(min(MAX_LENGTHS[0], model.max_positions - read), 1)
        )

    return [GenerationCase(inputs, strategy, room(inputs), {}) for inputs in given]


def _inputs(model, batch, longest, random, readable):
    if model.start is not None:
        sizes, specs = source_vocabulary_sizes(model), source_specs(model)
        longest = source_length(model, longest)
        sources = {spec.name: _source(spec, sizes.get(spec.name), batch, longest, random, readable) for spec in specs}
        return sources if model.sampling_rate is None else {name: _ragged(x, random) for name, x in sources.items()}
    prompt = _tokens(model, (batch, longest), random, readable)
    return {"prompt": prompt, "prompt_length": random.integers(1, longest + 1, batch).astype("int32")}


def _prompts(model, batch, longest, random, readable):
    """Prompts beside sources, also none: of all lengths up to `longest`, of equal ones, or none at all."""
    most = random.integers(0, longest + 1)
    fewest = random.choice([0, random.integers(0, most + 1), most])
    prompt = _tokens(model, (batch, max(longest, 1)), random, readable)
    return {"prompt": prompt, "prompt_length": random.integers(fewest, most + 1, batch).astype("int32")}


def _tokens(model, shape, random, readable):
    """Random tokens; beyond a prompt's length, they must not matter."""
    tokens = np.arange(model.vocabulary_size) if readable is None else np.asarray(readable)
    return random.choice(tokens, shape).astype("int32")


def _source(
    spec: TensorSpec, vocabulary_size: int | None, batch: int, longest: int, random: np.random.Generator, readable: Any
) -> np.ndarray:
    """Token ids padded on the right with 0, or normal floats."""
    shape = tuple({"batch": batch}.get(size, longest) if isinstance(size, str) else size for size in spec.shape)
    if np.dtype(spec.dtype).kind not in "iu":
        return random.normal(size=shape).astype(spec.dtype)
    if readable is None or len(shape) != 2:
        size = vocabulary_size or 2
        values = random.integers(min(1, size - 1), size, shape)
    else:
        values = random.choice([token for token in readable if token], shape)
    return (_ragged(values, random) if len(shape) == 2 else values).astype(spec.dtype)


def _ragged(values: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Rows of any length, padded on the right with 0."""
    rows, time = values.shape
    return values * (np.arange(time) < random.integers(1, time + 1, (rows, 1))).astype(values.dtype)
