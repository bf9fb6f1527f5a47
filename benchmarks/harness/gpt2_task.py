"""The task of `benchmarks.hub_speed`: KerasHub's GPT-2 with random weights, and the prompts that everyone continues."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.generation_task import measure_calls

THREADS = 2
FIRST = "first token of 512"  # the case of one new token


@dataclass(frozen=True)
class GPT2Size:
    """As `keras_hub.models.GPT2Backbone` takes it."""

    vocabulary_size: int = 50257
    num_layers: int = 12
    num_heads: int = 12
    hidden_dim: int = 768
    intermediate_dim: int = 3072
    max_sequence_length: int = 1024


SIZES = {"base": GPT2Size(), "quick": GPT2Size(2000, 2, 4, 128, 512, 1024)}


@dataclass(frozen=True)
class GPT2Task:
    """What contestants have to know beside the weights.

    Attributes:
        size: of the model.
        new: tokens to generate.
        runs: of each case, at least.
    """

    size: GPT2Size
    new: int
    runs: int

    @property
    def cases(self) -> dict[str, tuple[int, int, int]]:
        """Name -> batch size, tokens of the prompts, new tokens."""
        named = {f"batch {b}, prompt {n}": (b, n, self.new) for b in (1, 8) for n in (32, 512)}
        return named | {FIRST: (1, 512, 1)}

    def prompts(self, batch: int, length: int) -> np.ndarray:
        """(batch, length) int32."""
        return np.random.default_rng(1).integers(3, self.size.vocabulary_size, (batch, length), np.int32)

    def measure(self, generate: Callable[[np.ndarray, int], np.ndarray], file: Path) -> None:
        """Prints tokens per second by case as JSON, and leaves the token ids in a file.

        Args:
            generate: (prompts, new tokens) -> token ids, (batch, new tokens).
            file: an .npz.
        """

        def call(batch: int, length: int, new: int) -> tuple[Callable[[], Any], int]:
            prompts = self.prompts(batch, length)
            return lambda: generate(prompts, new), batch * new

        measure_calls({name: call(*case) for name, case in self.cases.items()}, file, self.runs)

    def write(self, folder: Path) -> None:
        (folder / "task.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, folder: Path) -> "GPT2Task":
        known = json.loads((folder / "task.json").read_text())
        return cls(**known | {"size": GPT2Size(**known["size"])})


def gpt2(size: GPT2Size) -> Any:
    """The task of KerasHub, on any backend, without a tokenizer; its weights are those it begins with."""
    import keras_hub

    backbone = keras_hub.models.GPT2Backbone(**asdict(size), dropout=0.0)
    return keras_hub.models.GPT2CausalLM(backbone=backbone, preprocessor=None)


def random_weights(task: Any) -> None:
    """Weights of the size that training leaves, but of enough spread that texts vary: a tied head repeats, at first,
    what it has read."""
    random = np.random.default_rng(0)
    for weight in task.weights:
        name, shape = weight.path, tuple(weight.shape)
        if len(shape) == 1:
            weight.assign(weight + random.normal(0, 0.1, shape))
        elif "embedding" in name:
            weight.assign(random.normal(0, 0.05, shape))
        else:
            weight.assign(random.normal(0, 1.5 / np.sqrt(shape[0]), shape))
    gamma = task.backbone.layer_norm.gamma
    gamma.assign(np.asarray(gamma) * random.choice([-1, 1], gamma.shape))
