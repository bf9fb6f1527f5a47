"""Which runtime runs which kind of file, and with the same results: older ONNX Runtimes, OpenVINO, Node, a browser.

    pip install -e ".[train-cpu]"
    (cd clients/js && npm ci --ignore-scripts)                  # for Node and the browser, which also needs chromium
    python -m benchmarks.runtimes --environments FOLDER         # environments of old runtimes are made there, once
    python -m benchmarks.runtimes --write docs/runtimes.md      # and puts the table there

All files of exported/ and fresh exports of the kinds that it lacks run here first, with prompts, sources, arrays and
settings that differ; each other runtime gets the same inputs. Integers, tokens among them, have to be equal, and
numbers within 1e-3 of 1 + their size.
"""

import argparse
import http.server
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.failures import LONGEST, failure_of_process, in_few_words
from benchmarks.harness.machine import machine
from benchmarks.harness.markdown import insert
from benchmarks.harness.run_recordings import unpacked
from benchmarks.harness.runtime_files import record_all

PYTHON = (
    *("onnxruntime==1.17.3", "onnxruntime==1.20.1", "onnxruntime==1.23.2", "onnxruntime==1.24.4"),
    *("onnxruntime==1.32.0", "openvino==2026.4.1"),
)
NODE, BROWSER = "Node", "browser, WebAssembly"
HARNESS = Path(__file__).parent / "harness"
CLIENT = Path(__file__).parents[1] / "clients" / "js"
TOLERANCE = 1e-3
LIMIT = 600.0  # seconds of a runtime
TELLING = (
    r"Unsupported model IR version: \d+",
    r"Could not find an implementation for \w+\(\d+\)",
    r"supports past_key and present_key both null or both not null",
)

Answer = dict[str, Any]  # `outputs` of each call, or `error`


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=Path, metavar="FOLDER", help="kept for the next time")
    parser.add_argument("--runtimes", nargs="+", default=[*PYTHON, NODE, BROWSER], metavar="NAME")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table between its markers there")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = record_all(folder)
        recordings = [json.loads(path.read_text()) for path in paths]
        found = {}
        for name in options.runtimes:
            print(f"{name} ...", file=sys.stderr, flush=True)
            answers = answers_of(name, paths, options.environments or folder / "environments")
            found[name] = [judged(recording, answer) for recording, answer in zip(recordings, answers, strict=True)]
            for path, verdict in zip(paths, found[name]):
                if verdict:
                    print(f"  {path.stem}: {verdict}", file=sys.stderr, flush=True)
    text = f"{machine()}\n\n{table([recording['kind'] for recording in recordings], found)}"
    print(text)
    if options.write:
        insert(options.write, "runtimes", text)


def table(kinds: Sequence[str], found: dict[str, list[str]]) -> str:
    """Markdown: a row for each kind, a column for each runtime; what went wrong is in notes below.

    Args:
        kinds: of each file.
        found: by runtime, for each file what went wrong, or "".
    """
    notes: dict[str, int] = {}
    names = (name.replace("onnxruntime==", "ONNX Runtime ").replace("openvino==", "OpenVINO ") for name in found)
    lines = [f"| kind of file | files | {' | '.join(names)} |", "|---" * (len(found) + 2) + "|"]
    for kind in sorted(set(kinds)):
        files = [i for i, other in enumerate(kinds) if other == kind]
        cells = []
        for name in found:
            wrong = [found[name][i] for i in files if found[name][i]]
            marks = sorted({notes.setdefault(verdict, len(notes) + 1) for verdict in wrong})
            right = len(files) - len(wrong)
            said = "yes" if not wrong else "no" if not right else f"{right} of {len(files)}"
            cells.append(" ".join([said, *(f"({mark})" for mark in marks)]))
        lines.append(f"| {kind} | {len(files)} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"{mark}. {verdict}" for verdict, mark in notes.items())])


def judged(recording: dict[str, Any], answer: Answer) -> str:
    """What is wrong with an answer, in few words; "" if it is right."""
    if "error" in answer:
        return f"fails: {reason(answer['error'])}"
    for call, outputs in zip(recording["calls"], answer["outputs"], strict=True):
        expected, given = unpacked(call["outputs"]), unpacked(outputs)
        for name, value in expected.items():
            if name not in given or given[name].shape != value.shape or not _equal(given[name], value):
                return f"other {'tokens' if recording['kind'].startswith('generates') else 'numbers'}"
    return ""


def reason(error: str) -> str:
    """The part of a runtime's message that says what is wrong: a known sentence, or its end."""
    for telling in TELLING:
        found = re.search(telling, error)
        if found:
            return found[0]
    return in_few_words(error[-LONGEST:])


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    if b.dtype.kind != "f":
        return bool((a == b).all())
    return bool(np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))


def answers_of(name: str, paths: Sequence[Path], environments: Path) -> list[Answer]:
    """What a runtime makes of recordings."""
    if name == BROWSER:
        return in_browser(paths)
    try:
        if name == NODE:
            command = ["node", str(HARNESS / "run_recordings.mjs"), str(CLIENT)]
        else:
            python = environment(name, environments)
            command = [str(python), str(HARNESS / "run_recordings.py"), name.partition("==")[0]]
        return list(in_processes(command, paths))
    except (OSError, subprocess.SubprocessError) as error:
        return [{"error": str(error)}] * len(paths)


def environment(package: str, folder: Path) -> Path:
    """The Python of a virtual environment that has a package of some version, which is made if need be."""
    python = folder / package / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder / package], check=True)
        numpy = "numpy<2" if package < "onnxruntime==1.19" else "numpy"
        subprocess.run([python, "-m", "pip", "install", "--quiet", package, numpy], check=True)
    return python


def in_processes(command: Sequence[str], paths: Sequence[Path]) -> Iterator[Answer]:
    """One process for all, and another one from the file on that ended it."""
    waiting = list(paths)
    while waiting:
        done = subprocess.run([*command, *map(str, waiting)], capture_output=True, encoding="utf-8", timeout=LIMIT)
        answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        yield from answers
        waiting = waiting[len(answers) :]
        if waiting:
            yield {"error": failure_of_process(done.returncode, done.stderr.splitlines()).reason}
            waiting = waiting[1:]


PAGE = """<!doctype html><script type="module">
import * as ort from "/ort/ort.wasm.bundle.min.mjs";
import { answer } from "/run_recordings.mjs";
for (let i = 0; i < COUNT; i++) {
  const recording = await (await fetch(`/recordings/${i}`)).json();
  const file = new Uint8Array(await (await fetch(`/files/${i}`)).arrayBuffer());
  const found = await answer({ ...ort, provider: "wasm" }, recording, file);
  await fetch(`/answers/${i}`, { method: "POST", body: JSON.stringify(found) });
}
await fetch("/done", { method: "POST" });
</script>"""


def in_browser(paths: Sequence[Path]) -> list[Answer]:
    """Chromium without a window loads a page that runs the recordings, from a server on this machine."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    runtime = CLIENT / "node_modules" / "onnxruntime-web" / "dist"
    if chromium is None or not runtime.exists():
        missing = "chromium" if chromium is None else "onnxruntime-web (npm ci in clients/js)"
        return [{"error": f"not installed: {missing}"}] * len(paths)
    answers: list[Answer] = [{"error": "the browser did not come to it"} for _ in paths]
    done = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _, folder, *rest = self.path.split("/")
            if folder == "recordings":
                self._send(paths[int(rest[0])].read_bytes(), "application/json")
            elif folder == "files":
                self._send(Path(json.loads(paths[int(rest[0])].read_text())["file"]).read_bytes(), "application/onnx")
            elif folder == "ort":
                kind = "application/wasm" if rest[0].endswith(".wasm") else "text/javascript"
                self._send((runtime / Path(rest[0]).name).read_bytes(), kind)
            elif folder == "run_recordings.mjs":
                self._send((HARNESS / folder).read_bytes(), "text/javascript")
            else:
                self._send(PAGE.replace("COUNT", str(len(paths))).encode(), "text/html")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if self.path == "/done":
                done.set()
            else:
                answers[int(self.path.rpartition("/")[2])] = json.loads(body)
            self._send(b"", "text/plain")

        def _send(self, content: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server,
        tempfile.TemporaryDirectory() as profile,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        page = f"http://127.0.0.1:{server.server_port}/"
        nowhere = subprocess.DEVNULL
        browser = subprocess.Popen([chromium, *options, page], stdout=nowhere, stderr=nowhere)
        done.wait(LIMIT)
        browser.terminate()
        browser.wait()
        server.shutdown()
    return answers


if __name__ == "__main__":
    main()
