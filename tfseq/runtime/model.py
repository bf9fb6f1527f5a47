"""`Model`: an exported file loaded for inference, to predict, classify, generate or stream."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime.chunk_stream import Stream
from tfseq.runtime.classification import labelled_output, named, text_feeds, with_texts
from tfseq.runtime.decoding_settings import checked_length, checked_settings, described_settings, length_name
from tfseq.runtime.devices import Provider
from tfseq.runtime.graph_signature import check_graph
from tfseq.runtime.input_binding import bind, require_finite, require_tokens
from tfseq.runtime.manifest import Manifest
from tfseq.runtime.printable import shown
from tfseq.runtime.session import Session
from tfseq.runtime.setting import Setting
from tfseq.runtime.sounds import is_sound
from tfseq.runtime.text_generation import Generation, read, text_source, written
from tfseq.runtime.text_stream import TextStream
from tfseq.runtime.tokenizer_kinds import Tokenizer, TokenizerPair, load_tokenizer

LONGEST_TEXT = 2**18  # characters; an encoder of 64 units, whose file is 750 kB, takes 0.6 GB for as many tokens


class Model:
    """One artefact: an ONNX graph and the manifest that says how to run it. Made by `load`.

    Attributes:
        path: the file.
        manifest: its task, signature, decoding defaults, provenance and parity report.
        tokenizer: text to token ids and back; None if the model reads no text.
        providers: names of ONNX Runtime's execution providers that compute, the preferred one first.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        threads: int | None = None,
        device: str | Sequence[Provider] = "cpu",
        session_options: Any = None,
        allow_nan: bool = False,
        longest_text: int | None = LONGEST_TEXT,
    ):
        if longest_text is not None and (type(longest_text) is not int or longest_text < 1):
            raise InputError(f"longest_text is {shown(longest_text)}; expected a number of characters, or None.")
        self._allow_nan, self._longest_text = allow_nan, longest_text
        self.path = Path(path)
        self.manifest = Manifest.from_file(path)
        if self.manifest.external_data is not None:
            self.manifest.external_data.check(self.path)
        suitable = _suitable_threads(self.manifest, self.path)
        self._session = Session(path, threads, device, session_options, suitable)
        self.providers = self._session.providers
        try:
            description = self.manifest.tokenizer
            self.tokenizer: Tokenizer | None = None if description is None else load_tokenizer(description)
            check_graph(self.manifest, self._session.inputs, self._session.outputs)
        except ArtefactError as error:
            raise ArtefactError(f"{path} can't be used: {error}") from None

        self._vocabulary_sizes = _vocabulary_sizes(self.manifest, self.tokenizer)

    def __repr__(self) -> str:
        signature = ", ".join(map(str, self.manifest.inputs))
        return f"<tfseq.runtime.Model {self.manifest.name!r}: {self.manifest.task}({signature})>"

    @property
    def continues_prompts(self) -> bool:
        """Whether the file generates by continuing a prompt; otherwise it reads a source, or does not generate."""
        return self.manifest.continues_prompts

    @property
    def settings(self) -> dict[str, Setting]:
        """The settings that `generate` takes beside `max_length`, by name: type, default, neutral value, range and
        description of each, as far as the file says; {} of a file that does not generate."""
        return {} if self.manifest.task == "predict" else described_settings(self.manifest)

    def predict(self, *arrays: Any, **named: Any) -> np.ndarray | dict[str, np.ndarray]:
        """Runs the graph on its inputs, by position or by name.

        Args:
            arrays, named: one per input of `manifest.inputs`, as anything that NumPy reads as an array. Types are cast
                where no value changes. A text, or a list of texts, is taken for token ids where
                the file has a tokenizer, and for strings, one for each row.

        Returns:
            The output, or a dictionary of outputs by name where the graph has several.

        Raises:
            InputError: a name, type, rank or size does not fit the signature; an input holds nan or infinity; the file
                keeps states, which `stream` takes care of, and they are not given.

        Warns:
            UnknownCharacterWarning: a text has characters or words that the model never saw.
        """
        outputs = self._run(arrays, named)
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    def classify(self, *arrays: Any, **arrays_by_name: Any) -> Any:
        """Classifies inputs: `predict`, with the most likely class by name.

        Args:
            arrays, arrays_by_name: as `predict` takes them; or a text, or a list of texts, for a file that reads text.

        Returns:
            The most likely class and its probability, as a `Label`: one for a text, a list of them for a batch; nested
            lists where every step is classified.

        Raises:
            InputError: the file names no classes, or as `predict` does.

        Warns:
            UnknownCharacterWarning: a text has characters or words that the model never saw.
        """
        self._require_states(arrays, arrays_by_name)
        self._require_short(*arrays)
        output = labelled_output(self.manifest)
        feeds = text_feeds(self.manifest, self.tokenizer, arrays[0]) if len(arrays) == 1 else None
        outputs = self._run(arrays, arrays_by_name) if feeds is None else self._run((), feeds)
        found = named(self.manifest.labels, outputs[output.name])
        return found[0] if arrays and isinstance(arrays[0], str) else found

    def run(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """`predict` by name: arrays by input name in, arrays by output name out.

        Raises:
            InputError: as `predict` does.
        """
        if not isinstance(inputs, Mapping):
            raise InputError(f"The inputs are {shown(inputs)}; expected a dictionary of arrays by name.")
        return self._run((), inputs)

    def stream(self) -> Stream:
        """A sequence to read chunk by chunk, from its beginning.

        Raises:
            InputError: the file reads whole sequences.
        """
        if not self.manifest.states:
            raise InputError(f"{self.path.name} has no states to keep; export the model with streaming=True.")
        if self.manifest.task == "stream_generate":
            raise InputError(f"{self.path.name} generates step by step; call stream_text.")
        return Stream(self.manifest, self._run_graph)

    def _run(self, arrays: Sequence[Any], named: Mapping[str, Any]) -> dict[str, np.ndarray]:
        self._require_states(arrays, named)
        self._require_short(*arrays, *named.values())
        if self.manifest.task == "predict":
            arrays, named = with_texts(self.manifest, self.tokenizer, arrays, named)
        return self._run_graph(bind(self.manifest.inputs, arrays, named))

    def _run_graph(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if not self._allow_nan:
            require_finite(self.manifest.data_inputs, feeds)
        require_tokens(self.manifest, feeds, self._vocabulary_sizes)
        return self._session.run(feeds)

    def _require_short(self, *given: Any) -> None:
        if self._longest_text is None or (self.manifest.decoding or {}).get("max_positions"):
            return  # positions are a limit of their own
        for each in given:
            is_array = isinstance(each, np.ndarray) and each.dtype.kind in "UO"
            texts = each.flat if is_array else each if isinstance(each, list | tuple) else (each,)
            longest = max((len(text) for text in texts if isinstance(text, str)), default=0)
            if longest > self._longest_text:
                raise InputError(
                    f"A text has {longest:,} characters; expected {self._longest_text:,} at most. Cut it in parts, or "
                    f"load the file with longest_text={longest}: memory grows with it."
                )

    def _require_states(self, arrays: Sequence[Any], named: Mapping[str, Any]) -> None:
        given = {*named, *(spec.name for spec in self.manifest.inputs[: len(arrays)])}
        missing = [state.input for state in self.manifest.states if state.input not in given]
        if missing:
            names = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
            raise InputError(_KEEPS_STATES[self.manifest.task].format(self.path.name, names))

    @overload
    def generate(
        self,
        text: str,
        max_length: int | None = ...,
        *,
        prompt: Any = ...,
        details: Literal[False] = ...,
        **settings: float | None,
    ) -> str: ...

    @overload
    def generate(
        self,
        text: str,
        max_length: int | None = ...,
        *,
        prompt: Any = ...,
        details: Literal[True],
        **settings: float | None,
    ) -> Generation: ...

    @overload
    def generate(
        self,
        text: Any,
        max_length: int | None = ...,
        *,
        prompt: Any = ...,
        details: Literal[False] = ...,
        **settings: float | None,
    ) -> list[str]: ...

    @overload
    def generate(
        self,
        text: Any,
        max_length: int | None = ...,
        *,
        prompt: Any = ...,
        details: Literal[True],
        **settings: float | None,
    ) -> list[Generation]: ...

    def generate(
        self,
        text: Any,
        max_length: int | None = None,
        *,
        prompt: Any = None,
        details: bool = False,
        **settings: float | None,
    ) -> str | list[str] | Generation | list[Generation]:
        """Generates text: continues each prompt, or turns each source into its output, such as its translation.

        Args:
            text: the prompt of a language model, or the source of an encoder-decoder: a text, or a list of texts, at
                least one character each. For a model that reads no text an array of several, (batch, ...), or a
                dictionary of arrays by name; for one that reads sound (`manifest.sampling_rate`) the samples of a
                sound, (time,), or a list of these.
            max_length: tokens to write, at most.
            prompt: of an encoder-decoder whose file was exported with `prefix=True`: what its output begins with, such
                as the tokens that name a task. A text or a list of token ids (code points where the file reads those),
                for all sources; or a list of these, one for each, "" for none. None is none.
            details: also return scores, tokens and, where the file has it, attention.
            settings: those that the file has, by name; None is the same as leaving one out:
                temperature: 0 takes the most likely token, 1 samples from the model's distribution, more flattens it.
                top_k: samples from the `top_k` most likely tokens; 0, or more than there are, from all.
                top_p: samples from the most likely tokens that together have this probability; 1 from all.
                seed: the same seed gives the same text. A row depends on the seed, its place and its prompt.
                min_length: tokens before the text may end.
                length_penalty: of beam search; 0 favours short texts, 1 or more longer ones.
                repetition_penalty: above 1 makes tokens that the row has read or written less likely.
                min_p: samples from the tokens that are at least `min_p` times as likely as the most likely one.
                Others that its decoding strategy has: `settings` describes them all.

        What is left out takes the file's default (`manifest.decoding`).

        Returns:
            A text: the continuation without the prompt, or the output for the source, of which a prompt is no part. A
            list of them for a list of texts or sounds, or an array of several. With `details` a `Generation` in place
            of each text.

        Raises:
            InputError: the file does not generate text, a text is empty, or the file has no such setting or takes no
                prompt; a number is out of range.

        Warns:
            UnknownCharacterWarning: a text has characters or words that the model never saw.
        """
        tokenizer = self._writer("generate")
        self._require_short(text, prompt)
        chosen = checked_settings(self.manifest, settings)
        reading = read(self.manifest, tokenizer, text, prompt)
        length = checked_length(self.manifest, max_length, reading.ahead)
        if length == 0:
            outputs = {"tokens": np.zeros((reading.rows, 0), np.int32)}
        else:
            named = {length_name(self.manifest.inputs): np.int32(length), **chosen}
            outputs = self._run((), {**reading.feeds, **named})
        generations = written(tokenizer, reading, outputs)
        results = generations if details else [generation.text for generation in generations]
        alone = isinstance(text, str) or (self.manifest.sampling_rate is not None and is_sound(text))
        return results[0] if alone else results

    def stream_text(
        self, text: Any, max_length: int | None = None, *, prompt: Any = None, **settings: float | None
    ) -> TextStream:
        """`generate` for one text, token by token: for files of one decode step (`streaming=True`).

        Args:
            text, max_length, settings: as `generate` takes them.
            prompt: as `generate` takes it, of any encoder-decoder.

        Returns:
            An iterator of pieces of text, which can go on later; together they are what `generate` returns.

        Raises:
            InputError: the file is not exported for streaming, or as `generate` does.

        Warns:
            UnknownCharacterWarning: a text has characters or words that the model never saw.
        """
        tokenizer = self._writer("stream_generate")
        self._require_short(text, prompt)
        run, allow_nan = self._session.run, self._allow_nan
        return TextStream(self.manifest, tokenizer, run, text, max_length, settings, prompt, allow_nan)

    def _writer(self, task: str) -> Tokenizer:
        """The tokenizer of a file that does this task."""
        name = self.path.name
        if self.manifest.task != task:
            raise InputError(_OTHER_TASK[task].get(self.manifest.task, _OTHER_TASK[task]["predict"]).format(name))
        if self.tokenizer is None:
            raise InputError(f"{name} has no tokenizer to read and write text with; call predict with token ids.")
        return self.tokenizer


_OTHER_TASK = {
    "generate": {
        "predict": "{} predicts and does not generate; export a generator with decode=tfseq.Sample().",
        "stream_generate": "{} generates step by step; call stream_text, or export the model without streaming.",
    },
    "stream_generate": {
        "predict": "{} does not generate step by step; export a generator with decode=tfseq.Sample(), streaming=True.",
        "generate": "{} generates whole texts; call generate, or export the model with streaming=True.",
    },
}

_KEEPS_STATES = {
    "predict": (
        "{} reads a sequence chunk by chunk, with states in between (missing: {}); call stream(), whose predict keeps "
        "them, or export the model with streaming=False."
    ),
    "stream_generate": "{} generates step by step, with states in between (missing: {}); call stream_text.",
}


def load(
    path: str | os.PathLike[str],
    threads: int | None = None,
    device: str | Sequence[Provider] = "cpu",
    session_options: Any = None,
    allow_nan: bool = False,
    longest_text: int | None = LONGEST_TEXT,
) -> Model:
    """Opens a file that `tfseq.export` wrote.

    Args:
        threads: to compute with; None takes what is quickest: one for a file that generates and is smaller than 2 MB,
            whose steps are over before a second thread has its share, and for others as many as there are cores.
        device: "cpu", "cuda", "coreml", "directml" or "openvino", each with the CPU for operators that it lacks; or
            a list of ONNX Runtime's execution providers, names or tuples (name, options), the preferred one first.
        session_options: an `onnxruntime.SessionOptions`, for everything else that ONNX Runtime can be told. Threads and
            the level of its log are tfseq's where it does not set them.
        allow_nan: whether float inputs may hold nan and infinity. Keras makes nan of these; an ONNX graph need not:
            recurrent operators swallow them, and a confident answer comes out.
        longest_text: characters that a text may have, each of a list, where the model has no largest number of
            positions; None takes any number. What is computed from a text is in memory at once, kilobytes a token.

    Raises:
        ArtefactError: the file is missing, is no ONNX file, is damaged, or has no manifest; the second file of weights,
            where it has one, is not beside it or has another size.
        InputError: `threads` is no whole number of at least 1; there is no such device, it is not installed, can't
            start, or can't run this file; `session_options` are none, or contradict `threads` or `device`.

    Example:
        >>> tfseq.runtime.load("model.onnx", device="cuda")
        >>> tfseq.runtime.load("model.onnx", device=[("CUDAExecutionProvider", {"device_id": 1})])
    """
    return Model(path, threads, device, session_options, allow_nan, longest_text)


def stream(
    model: str | os.PathLike[str] | Model,
    text: Any,
    max_length: int | None = None,
    *,
    prompt: Any = None,
    **settings: float | None,
) -> TextStream:
    """`Model.stream_text` of a file, or of a model that is open.

    Example:
        >>> for piece in tfseq.runtime.stream("model.step.onnx", "ROMEO:", max_length=400, seed=7):
        ...     print(piece, end="", flush=True)
    """
    return (model if isinstance(model, Model) else load(model)).stream_text(text, max_length, prompt=prompt, **settings)


def _suitable_threads(manifest: Manifest, path: Path) -> int | None:
    """One for small files that generate, on 1, 4, 8 or 16 cores alike; None, all cores, for others.

    A decode step of a small model is shorter than waking another thread: more cores would only wait longer for each
    other. The size was found on two cores; where it is wrong for a machine, `threads=` of `load` says it.
    With all cores of an idle machine of two, an LSTM of 128 units takes 26 us a step and one of 256 units (1.6 MB) 31;
    with one thread 25 and 36. As soon as something else runs there, too, one thread is the quicker by far (42 to 85).
    """
    beside = 0 if manifest.external_data is None else manifest.external_data.bytes
    return 1 if manifest.task != "predict" and path.stat().st_size + beside < SMALL else None


SMALL = 2_000_000  # bytes


def _vocabulary_sizes(manifest: Manifest, tokenizer: Tokenizer | None) -> dict[str, int]:
    """Of the inputs that hold token ids, by name: as the manifest says, or else the tokenizer of a file that writes."""
    sizes = dict(manifest.vocabulary_sizes)
    if tokenizer is not None and manifest.task == "generate":
        read = text_source(manifest)
        if read is not None:
            sizes.setdefault(read, _reader(tokenizer, manifest).vocabulary_size)
        if manifest.takes_prefix:
            sizes.setdefault("prompt", tokenizer.writer.vocabulary_size)
    return sizes


def _reader(tokenizer: Tokenizer, manifest: Manifest) -> Tokenizer:
    """The tokenizer of what a file that writes reads first."""
    return tokenizer.source if isinstance(tokenizer, TokenizerPair) and not manifest.continues_prompts else tokenizer
