"""Files of every kind for other runtimes to run, each with inputs and what ONNX Runtime here gives for them."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.run_recordings import packed

EXPORTED = Path(__file__).parents[2] / "exported"
SETTINGS: dict[str, list[Any]] = {"temperature": [0.8, 0.0, 1.2], "seed": [1, -7, 2**31 - 1], "top_k": [0, 5, 0]}
ROUNDS, ROWS, LENGTH = 3, 4, 24


def write_all(folder: Path) -> Iterator[Path]:
    """Those of exported/, then fresh ones of the kinds that it does not have."""
    yield from sorted(EXPORTED.glob("*/model.onnx"))
    yield from fresh(folder)


def fresh(folder: Path) -> Iterator[Path]:
    """Small random models: loops of each strategy, steps, chunks, operators of later opsets, smaller weights."""
    import keras

    import tfseq
    from tfseq.data import character_tokenizer
    from tfseq.models import RecurrentLanguageModel, Transformer, TransformerLanguageModel

    keras.utils.set_random_seed(0)
    tokenizer = character_tokenizer("abcdefghijklmnopqrstuvwxyz ,.", start_and_end=True)
    size, ends = tokenizer.vocabulary_size, {"start": tokenizer.start, "end": tokenizer.end}
    shape = {"units": 32, "heads": 4, "hidden": 64, "depth": 2}
    generators: dict[str, tuple[Callable, list]] = {
        "lstm": (lambda: RecurrentLanguageModel(size, 32), [tfseq.Sample(), tfseq.Greedy(), tfseq.Beam(4)]),
        "causal": (lambda: TransformerLanguageModel(size, **shape), [tfseq.Sample(), tfseq.Greedy(), tfseq.Beam(4)]),
        "translator": (lambda: Transformer(size, **ends, **shape), [tfseq.Greedy(), tfseq.Beam(4)]),
    }
    for name, (make, strategies) in generators.items():
        model = make()
        _vary(model)
        for strategy in strategies:
            kind = type(strategy).__name__.lower()
            for opset in (None,) if name == "lstm" else (None, 18):
                path = folder / f"{name}_{kind}{'' if opset is None else f'_opset{opset}'}.onnx"
                tfseq.export(model, path, decode=strategy, opset=opset, tokenizer=tokenizer, verify=False)
                yield path
        path = folder / f"{name}_steps.onnx"
        tfseq.export(model, path, decode=tfseq.Sample(), tokenizer=tokenizer, streaming=True, verify=False)
        yield path
    layers = keras.layers
    x = keras.Input((None, 8))
    heads = layers.MultiHeadAttention(4, 8)
    stacks = {
        "chunks": [layers.GRU(16, return_sequences=True), layers.LSTM(16, return_sequences=True)],
        "masked": [layers.Masking(), layers.LSTM(16, return_sequences=True), layers.Bidirectional(layers.GRU(8))],
        "simple_rnn": [layers.SimpleRNN(16, return_sequences=True)],
        "gelu": [layers.Dense(16, activation="gelu"), layers.LayerNormalization()],
        "attention": [lambda x: heads(x, x), layers.RMSNormalization()],
    }
    for name, stack in stacks.items():
        y = x
        for layer in stack:
            y = layer(y)
        path = folder / f"{name}.onnx"
        tfseq.export(keras.Model(x, y), path, streaming=name == "chunks", verify=False)
        yield path
    for to in ("int8", "int4"):
        path = folder / f"lstm_sample_{to}.onnx"
        tfseq.quantize(folder / "lstm_sample.onnx", path, to=to)
        yield path


def _vary(model: Any) -> None:
    """Larger weights, so that it does not write one token again and again."""
    model.build()
    for variable in model.trainable_variables:
        if len(variable.shape) == 2:
            variable.assign(3.0 * variable)


def recorded(path: Path) -> dict[str, Any]:
    """A file, its kind, and some runs: what the graph was given and what it gave."""
    from tfseq import runtime

    model = runtime.load(path)
    calls: list[dict[str, Any]] = []
    run = model._session.run

    def recording(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        outputs = run(feeds)
        calls.append({"feeds": packed(dict(feeds)), "outputs": packed(outputs)})
        return outputs

    model._session.run = recording  # type: ignore[method-assign]
    for round_ in range(ROUNDS):
        _ask(model, round_)
    return {"file": str(path.resolve()), "kind": kind(path, model.manifest), "calls": calls}


def kind(path: Path, manifest: Any) -> str:
    """What a runtime has to be able to do: the task, what it is built of, and the opset."""
    strategy = (manifest.decoding or {}).get("strategy")
    task = {"generate": f"generates, {strategy}", "stream_generate": "one decode step"}.get(manifest.task)
    task = task or ("chunks" if manifest.states else "whole sequences")
    if "Attention" in manifest.operators or "Transformer" in str((manifest.provenance or {}).get("model")):
        built_of = "attention"
    elif manifest.task != "predict" or {"LSTM", "GRU", "Scan"} & set(manifest.operators):
        built_of = "recurrent layers over padding" if _reads_padding(path) else "recurrent layers"
    else:
        built_of = "convolution or dense layers"
    weights = f", {manifest.quantization['to']}" if manifest.quantization else ""
    return f"{task}: {built_of}{weights}, opset {manifest.opset}"


def _reads_padding(path: Path) -> bool:
    """Whether a recurrent operator is told the lengths of its rows."""
    import onnx

    nodes = onnx.load(path, load_external_data=False).graph.node
    return any(node.op_type in ("LSTM", "GRU") and len(node.input) > 4 and node.input[4] for node in nodes)


def _ask(model: Any, round_: int) -> None:
    from tfseq.exporting.signatures.random_inputs import draw

    manifest = model.manifest
    random = np.random.default_rng(round_)
    first = manifest.inputs[0]
    settings = {name: values[round_] for name, values in SETTINGS.items()}
    settings = {name: value for name, value in settings.items() if name in {spec.name for spec in manifest.inputs}}
    if manifest.task == "stream_generate":
        list(model.stream_text("the first one"[: 3 + round_], max_length=LENGTH, **settings))
    elif manifest.states:
        stream = model.stream()
        for steps in (3, 1, 4):
            stream.predict(random.normal(size=(2, steps, first.shape[2])).astype(first.dtype))
    elif manifest.task == "generate":
        model.generate(_sources(model, first, random), max_length=LENGTH, details=True, **settings)
    elif model.tokenizer is not None and first.dtype == "int32":
        model.classify(_sources(model, first, random))
    else:
        feeds = draw(manifest.inputs, None, ROWS, 17, seed=round_)
        model.run(feeds)


def _sources(model: Any, spec: Any, random: np.random.Generator) -> Any:
    if spec.dtype != "int32" or len(spec.shape) != 2:
        from tfseq.exporting.signatures.random_inputs import draw

        return draw([spec], None, ROWS, 17, seed=int(random.integers(99)))[spec.name]
    words = ["The", "first", "answer", "of", "March", "3,", "1994", "is", "two", "hundred", "and", "seven"]
    return [" ".join(random.choice(words, int(random.integers(1, 8)))) for _ in range(ROWS)]


def record_all(folder: Path) -> list[Path]:
    """Recordings as JSON files in a folder, one for each file."""
    paths = []
    for path in write_all(folder):
        name = path.parent.name if path.name == "model.onnx" else path.stem
        paths.append(folder / f"{name}.json")
        paths[-1].write_text(json.dumps(recorded(path)))
    return paths
