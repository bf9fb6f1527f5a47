"""An exported file, ready to run."""

import operator
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime.arguments import bind
from tfseq.runtime.manifest import Manifest, TensorSpec
from tfseq.runtime.session import Session
from tfseq.runtime.stream import Stream
from tfseq.runtime.tokenizers import CharacterTokenizer, load_tokenizer

INT32 = np.iinfo(np.int32)


class UnknownCharacterWarning(UserWarning):
    """A prompt has characters that the model never saw; it reads them as its unknown symbol."""


class Model:
    """One artefact: an ONNX graph and the manifest that says how to run it. Made by `load`.

    Attributes:
        path: the file.
        manifest: its task, signature, decoding defaults, provenance and parity report.
        tokenizer: text to token ids and back; None if the model reads no text.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self._session = Session(path)
        try:
            self.manifest = Manifest.from_metadata(self._session.metadata)
            description = self.manifest.tokenizer
            self.tokenizer: CharacterTokenizer | None = None if description is None else load_tokenizer(description)
            _check_signature(self.manifest.inputs, self._session.input_names)
        except ArtefactError as error:
            raise ArtefactError(f"{path} can't be used: {error}") from None

    def __repr__(self) -> str:
        signature = ", ".join(map(str, self.manifest.inputs))
        return f"<tfseq.runtime.Model {self.manifest.name!r}: {self.manifest.task}({signature})>"

    def predict(self, *arrays: Any, **named: Any) -> np.ndarray | dict[str, np.ndarray]:
        """Runs the graph on its inputs, by position or by name.

        Args:
            arrays, named: one per input of `manifest.inputs`, as anything that NumPy reads as an array. Types are cast
                where no value changes.

        Returns:
            The output, or a dictionary of outputs by name where the graph has several.

        Raises:
            InputError: a name, type, rank or size does not fit the signature.
        """
        outputs = self._run(arrays, named)
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def run(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """`predict` by name: arrays by input name in, arrays by output name out."""
        return self._run((), inputs)

    def stream(self) -> Stream:
        """A sequence to read chunk by chunk, from its beginning.

        Raises:
            InputError: the file reads whole sequences.
        """
        if not self.manifest.states:
            raise InputError(f"{self.path.name} has no states to keep; export the model with streaming=True.")
        return Stream(self.manifest, self._session.run)

    def _run(self, arrays: Sequence[Any], named: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return self._session.run(bind(self.manifest.inputs, arrays, named))

    @overload
    def generate(
        self,
        prompt: str,
        length: int = ...,
        temperature: float | None = ...,
        top_k: int | None = ...,
        seed: int | None = ...,
    ) -> str: ...

    @overload
    def generate(
        self,
        prompt: list[str] | tuple[str, ...],
        length: int = ...,
        temperature: float | None = ...,
        top_k: int | None = ...,
        seed: int | None = ...,
    ) -> list[str]: ...

    def generate(
        self,
        prompt: str | list[str] | tuple[str, ...],
        length: int = 200,
        temperature: float | None = None,
        top_k: int | None = None,
        seed: int | None = None,
    ) -> str | list[str]:
        """Continues a text, or each of several.

        Args:
            prompt: the beginning, at least one character; or a list of them.
            length: number of tokens to add.
            temperature: 0 takes the likeliest token, 1 samples from the model's distribution, more is wilder.
            top_k: samples among the likeliest `top_k` tokens; 0, or more than there are, among all.
            seed: the same seed gives the same text. A row depends on the seed, its place in the list and its prompt.

        None takes the file's default (`manifest.decoding`).

        Returns:
            The continuation without the prompt; a list of them for a list of prompts.

        Raises:
            InputError: the file does not generate text, the prompt is empty, or a number is out of range.

        Warns:
            UnknownCharacterWarning: a prompt has characters that the model never saw.
        """
        if self.manifest.task != "generate":
            raise InputError(
                f"{self.path.name} predicts and does not generate; export the model with decode=tfseq.Sample()."
            )
        if self.tokenizer is None:
            raise InputError(f"{self.path.name} has no tokenizer to read text with; call predict with token ids.")
        prompts = _check_prompts(prompt)
        length = _integer("length", length, 0, INT32.max)
        settings = self._settings(temperature, top_k, seed)
        unknown = self.tokenizer.unknown_characters("".join(prompts))
        if unknown:
            warnings.warn(
                f"The model never saw {', '.join(map(repr, unknown))} and reads each as its unknown symbol.",
                UnknownCharacterWarning,
                stacklevel=2,
            )
        texts = self._continue(self.tokenizer, prompts, length, settings)
        return texts[0] if isinstance(prompt, str) else texts

    def _settings(self, temperature: float | None, top_k: int | None, seed: int | None) -> dict[str, Any]:
        given = {"temperature": temperature, "top_k": top_k, "seed": seed}
        default = {"temperature": 1.0, "top_k": 0, "seed": 0} | dict(self.manifest.decoding or {})
        chosen = {name: default[name] if value is None else value for name, value in given.items()}
        return {
            "temperature": _temperature(chosen["temperature"]),
            "top_k": _integer("top_k", chosen["top_k"], 0, INT32.max),
            "seed": _integer("seed", chosen["seed"], INT32.min, INT32.max),
        }

    def _continue(
        self, tokenizer: CharacterTokenizer, prompts: list[str], length: int, settings: dict[str, Any]
    ) -> list[str]:
        if length == 0:
            return [""] * len(prompts)
        encoded = [tokenizer.encode(text) for text in prompts]
        lengths = np.array([len(ids) for ids in encoded], np.int32)
        padded = np.zeros((len(encoded), lengths.max()), np.int32)  # (batch, time)
        for row, ids in zip(padded, encoded, strict=True):
            row[: len(ids)] = ids
        tokens = self.predict(prompt=padded, prompt_length=lengths, new_tokens=length, **settings)  # (batch, length)
        return [tokenizer.decode(row) for row in tokens]


def load(path: str | os.PathLike[str]) -> Model:
    """Opens a file that `tfseq.export` wrote.

    Raises:
        ArtefactError: the file is missing, is no ONNX file, is damaged, or has no manifest.
    """
    return Model(path)


def _check_signature(inputs: Sequence[TensorSpec], names: Sequence[str]) -> None:
    described = [spec.name for spec in inputs]
    if sorted(described) != sorted(names):
        raise ArtefactError(f"The manifest describes the inputs {described}; the graph takes {list(names)}.")
    for spec in inputs:
        if spec.dtype != "string":
            try:
                np.dtype(spec.dtype)
            except TypeError:
                raise ArtefactError(f"NumPy has no type {spec.dtype!r}, which {spec.name!r} has.") from None


def _check_prompts(prompt: Any) -> list[str]:
    prompts = [prompt] if isinstance(prompt, str) else prompt
    if not isinstance(prompts, list | tuple) or not all(isinstance(text, str) for text in prompts):
        raise InputError(f"The prompt is {type(prompt).__name__}; expected a text, or a list of texts.")
    if not prompts:
        raise InputError("There is no prompt; expected a text, or a list of texts.")
    if not all(prompts):
        which = "The prompt" if isinstance(prompt, str) else f"Prompt {prompts.index('')}"
        raise InputError(f"{which} is empty; give at least one character to start from.")
    return list(prompts)


def _integer(name: str, value: Any, low: int, high: int) -> int:
    try:
        number = operator.index(value)
    except TypeError:
        raise InputError(f"{name} is {value!r}; expected a whole number.") from None
    if not low <= number <= high:
        raise InputError(f"{name} is {number}; expected {low} to {high}.")
    return number


def _temperature(value: Any) -> np.float32:
    try:
        with np.errstate(over="ignore"):
            number = np.float32(value)
    except (TypeError, ValueError):
        raise InputError(f"temperature is {value!r}; expected a number, 0 or more.") from None
    if not (number >= 0 and np.isfinite(number)):
        raise InputError(f"temperature is {number:g}; expected a number, 0 or more.")
    return number
