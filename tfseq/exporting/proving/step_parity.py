"""A decode step graph driven as a whole generation loop, so that its parity is checked like a loop's."""

from collections.abc import Mapping

import numpy as np

from tfseq.exporting.signatures.signature import Run
from tfseq.models.generator import Generator
from tfseq.runtime.chunk_stream import first_states
from tfseq.runtime.manifest import Manifest


def in_steps(run: Run, manifest: Manifest, model: Generator) -> Run:
    """A function that takes and gives what the whole loop does, for prompts of equal lengths."""
    taken = {spec.name for spec in manifest.inputs}
    at_once = len(manifest.inputs[0].shape) == 2

    def ends(width: int, new: int) -> list[int]:
        """Behind the last token of each step. A prompt that can be read at once is read in two parts, or one."""
        prompt = [width - width // 3, width] if at_once and width > 2 else [width] if at_once else range(1, width + 1)
        return [*prompt, *range(width + 1, width + new)]

    def loop(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        if model.start is None:
            prompt = feeds["prompt"]  # (batch, time)
        else:
            rows = len(next(feeds[spec.name] for spec in model.sources))
            prompt = np.full((rows, 1), model.start, "int32")
        rows, width, new = *prompt.shape, int(feeds["max_length"])
        fixed = {name: array for name, array in feeds.items() if name in taken}
        states = first_states(manifest.states, manifest.inputs, rows)
        tokens, scores = np.zeros((rows, new), "int32"), np.zeros(rows, "float32")
        lengths = np.full(rows, new)
        begin = 0
        for end in ends(width, new):
            index = end - width
            if at_once:
                read = prompt[:, begin:end] if index <= 0 else tokens[:, index - 1 : index]
            else:
                read = prompt[:, begin] if index <= 0 else tokens[:, index - 1]
            place = {"position": np.asarray(begin, "int32"), "index": np.asarray(index, "int32")}
            outputs = run({**fixed, **states, "tokens": read, **place})
            begin = end
            states = {state.input: np.asarray(outputs[state.output]) for state in manifest.states}
            if index < 0:
                continue
            tokens[:, index] = outputs["chosen"]
            scores += np.where(lengths == new, np.asarray(outputs["log_probability"]), 0)
            if model.ends:
                lengths = np.where((lengths == new) & np.isin(tokens[:, index], model.ends), index, lengths)
                if (lengths < new).all():
                    break
        inside = np.arange(new) < lengths[:, None]
        longest = int(lengths.max())
        return {"tokens": np.where(inside, tokens, 0)[:, :longest], "lengths": lengths, "scores": scores}

    return loop
