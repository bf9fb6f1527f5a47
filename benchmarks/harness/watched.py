"""A worker process that runs a function on seeds and is watched: what it raised, whether it ended, its memory."""

import multiprocessing
import os
import resource
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_MEMORY = 2 * 10**9  # bytes
IN_ONNX_RUNTIME = multiprocessing.get_context("spawn").Value("b", 0)


@dataclass(frozen=True)
class Outcome:
    """What became of one seed.

    Attributes:
        seed: repeats it.
        verdict: "taken", "refused" (an error of tfseq's), "foreign exception", "hang", "above 2 GB" or "abort".
        inside: whether it was ONNX Runtime that hung, took the memory or aborted.
        said: the error, and where it was raised.
    """

    seed: int
    verdict: str
    inside: bool = False
    said: str = ""


def outcomes(
    use: Callable[[int], None],
    seeds: Sequence[int],
    seconds: float = 20,
    prepare: Callable[[], None] | None = None,
) -> Iterator[Outcome]:
    """Runs `use` on each seed, in a process that is started again when it dies, hangs or has grown.

    Args:
        use: a function of a module, which raises what it finds wrong.
        seconds: after which a seed counts as a hang.
        prepare: what each process does before its first seed, unwatched, such as imports that take long.
    """
    context = multiprocessing.get_context("spawn")
    process: Any = None
    pipe: Any = None
    for seed in seeds:
        if process is None:
            pipe, end = context.Pipe()
            process = context.Process(target=_work, args=(use, end, IN_ONNX_RUNTIME, prepare), daemon=True)
            process.start()
            end.close()
            pipe.recv()  # it has imported what it needs
        IN_ONNX_RUNTIME.value = 0
        pipe.send(seed)
        try:
            outcome, grown = (
                pipe.recv() if pipe.poll(seconds) else (Outcome(seed, "hang", bool(IN_ONNX_RUNTIME.value)), True)
            )
        except (EOFError, ConnectionError):
            outcome, grown = Outcome(seed, "abort", bool(IN_ONNX_RUNTIME.value)), True
        if grown:
            process.kill()
            process.join()
            process = None
        yield outcome
    if process is not None:
        process.kill()
        process.join()


def _work(use: Callable[[int], None], pipe: Any, inside: Any, prepare: Callable[[], None] | None) -> None:
    import onnxruntime

    from tfseq.errors import TfseqError

    session: Any = onnxruntime.InferenceSession

    class Watched(session):
        def __init__(self, *arguments: Any, **named: Any):
            with _Inside(inside):
                super().__init__(*arguments, **named)

        def run(self, *arguments: Any, **named: Any) -> Any:
            with _Inside(inside):
                return super().run(*arguments, **named)

    onnxruntime.InferenceSession = Watched
    resource.setrlimit(resource.RLIMIT_DATA, (4 * MOST_MEMORY, 4 * MOST_MEMORY))  # so that the machine lives on
    with open("/dev/null", "wb") as nowhere:
        sys.stderr.flush()
        os.dup2(nowhere.fileno(), 2)  # what Rust says of its panics
    if prepare is not None:
        prepare()
    pipe.send(None)
    while True:
        seed = pipe.recv()
        before = _peak()
        try:
            use(seed)
            outcome = Outcome(seed, "taken")
        except TfseqError as error:
            outcome = Outcome(seed, "refused", said=str(error).encode("utf-8", "backslashreplace").decode())
        except BaseException as error:
            last = traceback.extract_tb(error.__traceback__)
            ours = [frame for frame in last if "/tfseq/" in frame.filename] or last
            said = f"{type(error).__name__}: {error!s:.150} at {ours[-1].filename.rsplit('/', 1)[-1]}:{ours[-1].lineno}"
            outcome = Outcome(seed, "foreign exception", said=said.encode("utf-8", "backslashreplace").decode())
        took = _peak()
        if took > MOST_MEMORY and took > before:
            outcome = Outcome(seed, "above 2 GB", bool(inside.value), outcome.said)
        pipe.send((outcome, took > MOST_MEMORY / 2))


class _Inside:
    """Says that ONNX Runtime is at work; where it took the memory, the mark stays."""

    def __init__(self, flag: Any):
        self._flag = flag

    def __enter__(self) -> None:
        self._before, self._value = _peak(), self._flag.value
        self._flag.value = 1

    def __exit__(self, *error: Any) -> None:
        self._flag.value = max(self._value, int(_peak() > MOST_MEMORY > self._before))


def _peak() -> int:
    """The most memory that this process has held, in bytes."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:  # no Linux; what follows counts what the parent held when it started this process, too
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
