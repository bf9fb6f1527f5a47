"""`reading_texts`: a graph that takes token ids, run on texts as the runtime runs it."""

import warnings
from collections.abc import Mapping

import numpy as np

from tfseq.exporting.signatures.signature import Run
from tfseq.runtime.classification import with_texts
from tfseq.runtime.manifest import Manifest
from tfseq.runtime.tokenizer_kinds import WordTokenizer, load_tokenizer


def reading_texts(run: Run, manifest: Manifest) -> Run:
    """The graph with its tokenizer before it, if that belongs to the model; else as it is."""
    if manifest.task != "predict" or (manifest.tokenizer or {}).get("kind") != WordTokenizer.kind:
        return run
    tokenizer = load_tokenizer(manifest.tokenizer or {})

    def run_on_texts(feeds: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # unknown words are wanted
            _, tokens = with_texts(manifest, tokenizer, (), feeds)
        return run(tokens)

    return run_on_texts
