"""`TextStream`: text generation token by token, one decode step of the graph at a time."""

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tfseq.errors import ArtefactError, InputError
from tfseq.runtime.chunk_stream import first_states
from tfseq.runtime.decoding_settings import checked_length, checked_settings
from tfseq.runtime.input_binding import require_finite
from tfseq.runtime.manifest import Manifest
from tfseq.runtime.text_generation import checked_texts, encode, read, warn_of_unknown
from tfseq.runtime.tokenizer_base import REPLACEMENT, Tokenizer

Run = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


class TextStream(Iterator[str]):
    """Made by `Model.stream_text`: an iterator of pieces of text, which keeps the model's states (its KV cache).

    Threads may share it: each gets other pieces, one thread at a time.

    Attributes:
        text: what was written so far.
        tokens: its token ids (code points where the file reads those).
        score: the sum of the log-probabilities of the tokens and the end.
        ended: whether the model ended the sequence itself; only `max_length` stops it otherwise.

    Example:
        >>> stream = tfseq.runtime.load("model.step.onnx").stream_text("ROMEO:", max_length=200)
        >>> for piece in stream:
        ...     print(piece, end="", flush=True)
        >>> for piece in stream.more("\\nJULIET:"):
        ...     print(piece, end="", flush=True)
    """

    def __init__(
        self,
        manifest: Manifest,
        tokenizer: Tokenizer,
        run: Run,
        given: Any,
        max_length: int | None,
        settings: Mapping[str, Any],
        prompt: Any = None,
        allow_nan: bool = False,
    ):
        self._manifest, self._tokenizer, self._run = manifest, tokenizer, run
        self._lock = threading.Lock()
        self._fixed = {name: np.asarray(value) for name, value in checked_settings(manifest, settings).items()}
        reading = read(manifest, tokenizer, given, prompt)
        if not allow_nan:
            require_finite(manifest.sources, reading.feeds)
        if reading.rows != 1 or isinstance(given, list | tuple):
            raise InputError(f"A stream writes one text at a time; got {reading.rows} to start from.")
        self._left = checked_length(manifest, max_length, reading.ahead)
        if manifest.continues_prompts:
            unread = reading.before[0]
        else:
            self._fixed |= reading.feeds
            unread = np.array([(manifest.decoding or {}).get("start"), *reading.before[0]], np.int32)
        self._read, self._written = manifest.inputs[0].name, manifest.outputs[0].name
        end = (manifest.decoding or {}).get("end")
        self._ends = end if isinstance(end, list | tuple) else [end]
        self._at_once = len(manifest.inputs[0].shape) == 2  # the file reads several tokens at once
        self._counts = any(spec.name == "max_length" for spec in manifest.inputs)
        self._states = first_states(manifest.states, manifest.inputs, 1)
        self._position = 0  # tokens that the model has read
        self._index = 0  # tokens that it has written since it last read a text
        self._unread = unread
        self._pieces = _Pieces(tokenizer, reading.before[0])
        self._late = ""  # a piece that `more` cut short
        self.text, self.tokens, self.score, self.ended = "", list[int](), 0.0, False

    def __next__(self) -> str:
        with self._lock:
            return self._next()

    def _next(self) -> str:
        piece, self._late = self._late, ""
        while not piece and self._left > 0 and not self.ended:
            token = self._choose()
            self._left -= 1
            if token in self._ends:
                self.ended = True
            else:
                self.tokens.append(token)
                piece = self._pieces.add(token)
        piece = piece or self._pieces.rest()
        if not piece:
            raise StopIteration
        self.text += piece
        return piece

    def more(self, text: str = "", max_length: int | None = None) -> "TextStream":
        """Goes on where the stream is, also in the middle of it.

        Args:
            text: what the model reads first, as if it had written that itself.
            max_length: tokens to write from here on, at most; None takes the file's default.

        Returns:
            this stream.

        Raises:
            InputError: the model has ended the sequence, or an argument is out of range.
        """
        with self._lock:
            return self._more(text, max_length)

    def _more(self, text: str, max_length: int | None) -> "TextStream":
        if self.ended:
            raise InputError("The model has ended this sequence; begin another with stream_text.")
        ids = self._unread[:0]
        if text:
            (text,) = checked_texts(text, "text")
            warn_of_unknown(self._tokenizer.writer, [text])
            ids = encode(self._tokenizer.writer, text, "text")
        unread = np.append(self._unread, ids).astype(np.int32)
        self._left = checked_length(self._manifest, max_length, self._position + len(unread))
        if text:
            self._late += self._pieces.rest()
            self._pieces = _Pieces(self._tokenizer, ids)
        self._unread, self._index = unread, 0
        return self

    def _choose(self) -> int:
        """Runs decode steps on the tokens that the model has not read yet, and returns the token it chooses last."""
        while len(self._unread):
            now, later = (self._unread, self._unread[:0]) if self._at_once else (self._unread[:1], self._unread[1:])
            feeds = {
                self._read: now[None] if self._at_once else now,
                "position": np.array(self._position, np.int32),
                "index": np.array(self._index - len(later), np.int32),
            }
            if self._counts:
                feeds["max_length"] = np.array(self._index + self._left, np.int32)
            outputs = self._run({**self._fixed, **self._states, **feeds})
            self._states = {state.input: outputs[state.output] for state in self._manifest.states}
            self._position += len(now)
            self._unread = later
        self._unread = outputs[self._written]
        score = outputs["log_probability"]
        if self._unread.shape != (1,) or self._unread.dtype.kind not in "iu" or score.shape != (1,):
            raise ArtefactError("The graph chose no token; the file is damaged. Export the model again.")
        self._index += 1
        self.score += float(score[0])
        return int(self._unread[0])


class _Pieces:
    """Incremental detokenization; a part of a character waits for the rest of it."""

    def __init__(self, tokenizer: Tokenizer, before: np.ndarray):
        self._tokenizer = tokenizer
        self._said = [int(token) for token in before[-1:]]  # the token with a text that the next piece follows on
        self._waiting: list[int] = []

    def add(self, token: int) -> str:
        self._waiting.append(token)
        piece = self._piece()
        if self._tokenizer.splits_characters and piece.endswith(REPLACEMENT):
            return ""
        self._waiting = []
        if piece:  # of a token without a text, the next piece follows on what stood before it
            self._said = [token]
        return piece

    def rest(self) -> str:
        piece = self._piece() if self._waiting else ""
        self._said, self._waiting = self._waiting[-1:] or self._said, []
        return piece

    def _piece(self) -> str:
        said = self._tokenizer.decode(self._said)
        return self._tokenizer.decode(self._said + self._waiting)[len(said) :]
