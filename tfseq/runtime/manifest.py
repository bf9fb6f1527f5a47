"""`Manifest`, the metadata of an exported file: signature, tokenizer, decoding defaults, parity, provenance."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from tfseq.errors import ArtefactError
from tfseq.runtime.external_data import ExternalData
from tfseq.runtime.manifest_schema import check_manifest
from tfseq.runtime.manifest_table import describe
from tfseq.runtime.onnx_metadata import graph_sha256, read_metadata
from tfseq.runtime.schema import parsed_json

METADATA_KEY = "tfseq"
SAVED_MODEL_FILE = Path("assets.extra", "tfseq.json")  # in the folder that TensorFlow leaves to others
FORMAT = 1


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of an artefact.

    Attributes:
        name: its name in the graph.
        dtype: NumPy's name of its type, such as "int32".
        shape: one entry per axis: its size, or its name where any size is taken; () for a scalar.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}

    @classmethod
    def from_json(cls, value: Any) -> "TensorSpec":
        """The inverse of `to_json`."""
        return cls(value["name"], value["dtype"], tuple(value["shape"]))

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} ({', '.join(map(str, self.shape))})"


@dataclass(frozen=True)
class StateSpec:
    """One state of an artefact that reads sequences in chunks.

    Attributes:
        input: name of the input that takes it, (batch, ...).
        output: name of the output that gives it after the chunk.
        initial: before the first chunk: one value for every element, or nested lists without the batch axis.
    """

    input: str
    output: str
    initial: Any


@dataclass(frozen=True)
class Manifest:
    """What an artefact is, how to run it, where it comes from and how it was verified; `print` shows it as a table.

    Attributes:
        name: of the model.
        task: "predict" (arrays to arrays), "generate" (a prompt to its continuation or a source to what it becomes, the
            loop inside the graph) or "stream_generate" (one decode step of that, states in and out).
        inputs, outputs: the graph's signature, in order.
        operators: how often each operator occurs, subgraphs included.
        opset: version of the ai.onnx operators.
        tokenizer: as `load_tokenizer` takes it; None if the model reads no text.
        labels: names of the classes that the last axis of the first output counts; of two classes where that axis has
            one entry, the probability of the second; empty where it counts something else.
        decoding: strategy, the defaults of the run-time settings (temperature, top_k, seed and so on), and the ids
            of the start and end tokens, or None; `max_positions` where a model reads no longer sequences.
            None for "predict".
        provenance: versions, model class, parameters, hash of the weights, data, date.
        states: of a model that reads sequences in chunks: what to carry from one chunk to the next; else empty.
        notes: sentences about limitations of the export, such as a layer without a native operator.
        parity: {"passed": bool, "checks": [...]} as measured at export; None if it was not verified.
        quantization: of a quantized file: type, sizes, speeds and scores beside the original's, whose `parity` and
            `provenance` it keeps; None for an original.
        external_data: the second file, with the weights; None if they are in the first.
        vocabulary_sizes: of inputs that hold token ids or other indices, by name: each is below.
        sampling_rate: of a model that reads sound: the samples of its source for each second; None of others.
        graph_sha256: hash of the graph and the weights in its file, in hexadecimal; None of files of older versions.
        format: version of this description.
    """

    name: str
    task: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    operators: Mapping[str, int]
    opset: int
    tokenizer: Mapping[str, Any] | None = None
    labels: tuple[str, ...] = ()
    decoding: Mapping[str, Any] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    states: tuple[StateSpec, ...] = ()
    notes: tuple[str, ...] = ()
    parity: Mapping[str, Any] | None = None
    quantization: Mapping[str, Any] | None = None
    external_data: ExternalData | None = None
    vocabulary_sizes: Mapping[str, int] = field(default_factory=dict)
    sampling_rate: int | None = None
    graph_sha256: str | None = None
    format: int = FORMAT

    def __str__(self) -> str:
        """The table that `tfseq inspect` prints."""
        return describe(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What IPython and notebooks show."""
        printer.text(str(self))

    @property
    def data_inputs(self) -> list[TensorSpec]:
        """The inputs that are not states."""
        states = {state.input for state in self.states}
        return [spec for spec in self.inputs if spec.name not in states]

    @property
    def sources(self) -> list[TensorSpec]:
        """The inputs that a file that generates encodes before it writes; none if it continues prompts."""
        inputs = self.data_inputs[1:] if self.task == "stream_generate" else self.data_inputs  # the first is the token
        return [spec for spec in inputs if spec.shape != () and spec.name not in ("prompt", "prompt_length")]

    @property
    def continues_prompts(self) -> bool:
        """Whether the file generates by continuing a prompt; otherwise it reads a source, or does not generate."""
        return self.task != "predict" and (self.decoding or {}).get("start") is None and not self.sources

    @property
    def takes_prefix(self) -> bool:
        """Whether a file that generates from sources also reads a prompt for each, which its output goes on from."""
        read = {spec.name for spec in self.inputs}
        return self.task == "generate" and "prompt_length" in read and not self.continues_prompts

    def to_json(self) -> dict[str, Any]:
        """A dictionary of JSON's own types."""
        value = asdict(self)
        for side in ("inputs", "outputs"):
            value[side] = [spec.to_json() for spec in getattr(self, side)]
        value["states"] = list(value["states"])
        value["notes"] = list(self.notes)
        value["labels"] = list(self.labels)
        return value

    @classmethod
    def from_json(cls, value: Any) -> "Manifest":
        """The inverse of `to_json`; keys that this version does not know are ignored.

        Raises:
            ArtefactError: `value` is not a manifest, or one of a newer format.
        """
        if not isinstance(value, Mapping):
            raise ArtefactError("The manifest is damaged: expected a JSON object.")
        version = value.get("format")
        if type(version) is int and version > FORMAT:
            raise ArtefactError(
                f"The manifest has format {version}, and this tfseq reads up to {FORMAT}. Upgrade tfseq to run it."
            )
        check_manifest(value)
        known = {f.name: value[f.name] for f in fields(cls) if f.name in value}
        for side in ("inputs", "outputs"):
            known[side] = tuple(TensorSpec.from_json(spec) for spec in value[side])
        known["states"] = tuple(
            StateSpec(state["input"], state["output"], state["initial"]) for state in value.get("states") or ()
        )
        known["notes"] = tuple(value.get("notes") or ())
        known["labels"] = tuple(value.get("labels") or ())
        known |= {name: value.get(name) or {} for name in ("provenance", "vocabulary_sizes")}
        external = value.get("external_data")
        known["external_data"] = None if external is None else ExternalData.from_json(external)
        return cls(**known)

    def with_graph_hash(self, path: str | os.PathLike[str]) -> "Manifest":
        """This one, with the hash of the graph in a file, for `check_content`."""
        return replace(self, graph_sha256=graph_sha256(path))

    def check_content(self, path: str | os.PathLike[str]) -> None:
        """Whether a file's graph and weights are those that this manifest was written for, by their hashes.

        They show accidents, and changes by someone who leaves the manifest alone.

        Raises:
            ArtefactError: they are others, or the manifest has no hash.
        """
        if self.graph_sha256 is None:
            raise ArtefactError(f"{path} says no hash of its graph: an older tfseq wrote it. Export it again.")
        if graph_sha256(path) != self.graph_sha256:
            raise ArtefactError(
                f"{path} is not what was exported: its graph or weights have changed since, and its parity report says "
                "nothing of them. Export or copy it again."
            )
        if self.external_data is not None:
            self.external_data.check_content(Path(path))

    def to_metadata(self) -> dict[str, str]:
        """The entries to write into the ONNX file's `metadata_props`."""
        return {METADATA_KEY: json.dumps(self.to_json())}

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "Manifest":
        """Reads the manifest of an ONNX file, and of the file nothing else: not its graph, not its weights.

        Raises:
            ArtefactError: the file is missing, is no ONNX file or is damaged; there is no manifest, or it is damaged.
        """
        metadata = read_metadata(path)
        try:
            return cls.from_metadata(metadata)
        except ArtefactError as error:
            raise ArtefactError(f"{path} can't be used: {error}") from None

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "Manifest":
        """Reads the manifest out of an ONNX file's `metadata_props`, given as a mapping.

        Raises:
            ArtefactError: there is no manifest, or it is damaged.
        """
        if METADATA_KEY not in metadata:
            raise ArtefactError("There is no tfseq manifest in it. Export the model with tfseq.export.")
        return cls.from_json(parsed_json(metadata[METADATA_KEY], "The manifest"))

    @classmethod
    def from_saved_model(cls, folder: str | os.PathLike[str]) -> "Manifest":
        """Reads the manifest that `tfseq.export` puts into a SavedModel.

        Raises:
            ArtefactError: the folder is no SavedModel of ours, or its manifest is damaged.
        """
        path = Path(folder, SAVED_MODEL_FILE)
        try:
            text = path.read_bytes()
        except (OSError, ValueError):
            raise ArtefactError(f"{folder} is not a SavedModel that tfseq exported: there is no {path}.") from None
        try:
            return cls.from_json(parsed_json(text, "The manifest"))
        except ArtefactError as error:
            raise ArtefactError(f"{path} can't be used: {error}") from None
