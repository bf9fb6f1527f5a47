"""The usual way to generate with ONNX: an encoder file, a decoder file with KV cache, and the loop in Python.

Files as Optimum and others write them: the decoder takes the KV cache and returns it with one entry more.
Both are traced from the model's own `encode` and `step` by tfseq's converter, so the operators are those of tfseq's
single file, fused attention included. What differs is where the loop is.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CACHE_RANK = 4  # (rows, heads, entries, head_dim)


def write(model, folder: Path) -> None:
    """Writes encoder.onnx and decoder.onnx of an encoder-decoder with one source."""
    import onnx
    from keras import ops, tree

    from tfseq.exporting.conversion.convert import to_onnx
    from tfseq.runtime.manifest import TensorSpec

    source = TensorSpec("source", "int32", ("batch", "source_time"))
    example = model.encode(ops.ones((2, 3), "int32"))
    states = model.initial_state(example, 2)

    def encode(source):
        return {f"memory_{i}": x for i, x in enumerate(tree.flatten(model.encode(source)))}

    def specs(name, leaves, time):
        """The first axis is rows; the second to last that is not the model's is time."""
        return [
            TensorSpec(f"{name}_{i}", x.dtype.name, _named(x.shape, time, 3 if name == "memory" else 0))
            for i, x in enumerate(tree.flatten(leaves))
        ]

    memory_specs, state_specs = specs("memory", example, "source_time"), specs("state", states, "past")

    def step(tokens, **tensors):
        memory, state = (
            tree.pack_sequence_as(structure, [tensors[spec.name] for spec in specs])
            for structure, specs in ((example, memory_specs), (states, state_specs))
        )
        logits, state = model.step(tokens, state, memory)
        return {"logits": logits} | {f"next_{i}": x for i, x in enumerate(tree.flatten(state))}

    tokens = TensorSpec("tokens", "int32", ("batch",))
    onnx.save(to_onnx(encode, [source], None), folder / "encoder.onnx")
    onnx.save(to_onnx(step, [tokens, *state_specs, *memory_specs], None), folder / "decoder.onnx")


def _named(shape, time: str, size: int) -> tuple[str | int, ...]:
    """Of an example with 2 rows and `size` entries: names for the rows and the entries."""
    return tuple("batch" if i == 0 else time if n == size else n for i, n in enumerate(shape))


class TwoFiles:
    """Greedy and beam search over the two files, as a user would write them: NumPy chooses and reorders.

    Args:
        folder: of both files.
        start, end: token ids.
        bound: hands ONNX Runtime its own values back instead of NumPy arrays (IO binding).
    """

    def __init__(self, folder: Path, start: int, end: int, threads: int, bound: bool):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        self.encoder, self.decoder = (
            onnxruntime.InferenceSession(folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
            for name in ("encoder", "decoder")
        )
        self.start, self.end, self.bound = start, end, bound
        inputs = self.decoder.get_inputs()
        self.states = [node for node in inputs if node.name.startswith("state")]
        self.memory_names = [node.name for node in inputs if node.name.startswith("memory")]
        self.outputs = [node.name for node in self.decoder.get_outputs()]
        self.value = onnxruntime.OrtValue.ortvalue_from_numpy

    def run(self, source: np.ndarray, width: int, length: int) -> np.ndarray:
        """(batch, source_time) token ids -> (batch, length) token ids, none of them END."""
        encoded = dict(zip((n.name for n in self.encoder.get_outputs()), self.encoder.run(None, {"source": source})))
        memory = {name: encoded[name].repeat(width, 0) if width > 1 else encoded[name] for name in self.memory_names}
        rows = len(source) * width
        state: list[Any] = [
            np.zeros([rows if size == "batch" else 0 if isinstance(size, str) else size for size in node.shape], dtype)
            for node, dtype in zip(self.states, map(_dtype, self.states))
        ]
        step = self._bound_step(memory) if self.bound else self._step(memory)
        search = self._greedy if width == 1 else self._beam
        return search(step, state, len(source), width, length)

    def _step(self, memory) -> Callable:
        def step(tokens, state):
            feeds = {"tokens": tokens} | {node.name: x for node, x in zip(self.states, state)} | memory
            logits, *state = self.decoder.run(None, feeds)
            return logits, state

        return step

    def _bound_step(self, memory) -> Callable:
        binding = self.decoder.io_binding()
        for name, array in memory.items():
            binding.bind_cpu_input(name, array)

        def step(tokens, state):
            binding.bind_cpu_input("tokens", tokens)
            for node, x in zip(self.states, state):
                if isinstance(x, np.ndarray):
                    x = self.value(x)
                binding.bind_ortvalue_input(node.name, x)
            for name in self.outputs:
                binding.bind_output(name)
            self.decoder.run_with_iobinding(binding)
            logits, *state = binding.get_outputs()
            return logits.numpy(), state

        return step

    def _greedy(self, step, state, batch, width, length):
        tokens = np.full(batch, self.start, np.int32)
        chosen = np.empty((batch, length), np.int32)
        for t in range(length):
            logits, state = step(tokens, state)
            logits[:, self.end] = -np.inf
            tokens = chosen[:, t] = logits.argmax(1).astype(np.int32)
        return chosen

    def _beam(self, step, state, batch, width, length):
        tokens = np.full(batch * width, self.start, np.int32)
        chosen = np.empty((batch * width, 0), np.int32)
        scores = np.full((batch, width), -np.inf, np.float32)
        scores[:, 0] = 0  # the beams are equal at first
        first_rows = np.arange(batch)[:, None] * width
        for _ in range(length):
            logits, state = step(tokens, state)
            logits -= logits.max(1, keepdims=True)
            logits -= np.log(np.exp(logits).sum(1, keepdims=True))
            logits[:, self.end] = -np.inf
            vocabulary = logits.shape[1]
            totals = (logits + scores.reshape(-1, 1)).reshape(batch, width * vocabulary)
            best = np.argpartition(-totals, width, axis=1)[:, :width]  # (batch, width), in any order
            scores = np.take_along_axis(totals, best, 1)
            order = np.argsort(-scores, axis=1, kind="stable")
            scores, best = np.take_along_axis(scores, order, 1), np.take_along_axis(best, order, 1)
            rows = (first_rows + best // vocabulary).reshape(-1)
            tokens = (best % vocabulary).reshape(-1).astype(np.int32)
            chosen = np.concatenate([chosen[rows], tokens[:, None]], 1)
            if (rows != np.arange(len(rows))).any():
                state = [self._reordered(x, rows) for x in state]
        return chosen[::width]  # the best beam is the first

    def _reordered(self, value, rows):
        array = value if isinstance(value, np.ndarray) else value.numpy()
        return array[rows] if array.ndim == CACHE_RANK else value


def _dtype(node) -> type:
    return {"tensor(float)": np.float32, "tensor(int32)": np.int32}[node.type]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("way", choices=("numpy", "bound"))
    arguments = parser.parse_args()
    from benchmarks.harness.generation_task import THREADS, measure, read_task

    task = read_task(arguments.folder)
    contestant = TwoFiles(arguments.folder, task.start, task.end, THREADS, arguments.way == "bound")
    measure(contestant.run, arguments.folder, f"two_files_{arguments.way}", batches=(1,))


if __name__ == "__main__":
    main()
