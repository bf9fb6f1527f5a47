"""Fixtures of the JavaScript tests: exported files, and the outputs of Python's runtime for them.

python clients/js/test/fixtures.py FOLDER: the files go to FOLDER, what they answer to FOLDER/answers.json. The models
are small and random; those in exported/ are asked too.
"""

import argparse
import json
import os
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from tokenizer_fixtures import HARD, HELD_OUT, LEARNED, LINES, tokenizer_answers

import tfseq
from tfseq import runtime
from tfseq.data import character_tokenizer, subword_tokenizer, word_tokenizer
from tfseq.decoding import Automaton, NoRepeatNGram, setting
from tfseq.exporting.signatures.random_inputs import draw
from tfseq.models import (
    AttentionSeq2Seq,
    RecurrentLanguageModel,
    StateSpaceLanguageModel,
    Transformer,
    TransformerLanguageModel,
)

INPUTS, ROWS = 200, 8  # per file; per batch
SETTINGS: dict[str, list[Any]] = {  # of one batch after another
    "temperature": [0.7, 0.0, 1.0, 1.3],
    "top_k": [0, 5, 0, 20],
    "top_p": [1.0, 1.0, 0.9, 0.5],
    "seed": [1, -7, 2**31 - 1, 123456],
    "min_length": [0, 0, 5],
    "length_penalty": [1.0, 0.0, 0.6, 2.0],
    "repetition_penalty": [1.3, 1.0, 2.0],
    "min_p": [0.1, 0.0, 0.5],
    "cap": [4.0, 0.5],
}
PROMPTS: list[Any] = [None, "Two men", [5, 7], ["Zwei", "", [9], [], "a man", [3, 4, 5], "né", "x"]]  # of ROWS rows


@dataclass(frozen=True)
class Capped(tfseq.Sample):
    """A strategy of a user's own: no token is more than so many times as likely as one of logit 0."""

    cap: float = setting(3.0, "the largest logit", low=0)

    def keep(self, logits, settings):
        return keras.ops.minimum(super().keep(logits, settings), settings["cap"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore", runtime.UnknownCharacterWarning)
    keras.utils.set_random_seed(0)
    kept = sorted(Path(__file__).parents[3].glob("exported/*/model.onnx"))
    writers = [path for path in kept if runtime.load(path).manifest.task == "generate"]
    answers = {
        "tokenizers": tokenizer_answers(),
        "generate": [asked(path) for path in [*writers, *written(folder)]],
        "answer": [answered(path) for path in [*kept, *classifiers(folder)] if path not in writers],
        "stream": [streamed(path) for path in step_files(folder)],
        "predict": predicted(folder),
    }
    (folder / "answers.json").write_text(json.dumps(answers))


def written(folder: Path) -> Iterator[Path]:
    """One file per kind of generator, tokenizer and decoding strategy."""
    characters = character_tokenizer("".join(sorted(set("".join(LINES)))))
    with_ends = character_tokenizer("".join(sorted(set("".join(LINES)))), start_and_end=True)
    words, pieces = word_tokenizer(LEARNED, 600, append_end=True), subword_tokenizer(LEARNED, 500)
    strategies = {
        "greedy": tfseq.Greedy(repetition_penalty=1.3),
        "beam": tfseq.Beam(4),
        "sample": tfseq.Sample(forbidden=(0,)),
        "capped": Capped(rules=[NoRepeatNGram(3)], min_p=0.1),
        "answers": tfseq.Beam(3, rules=[Automaton.answers([line[:12] for line in LINES[:20]], with_ends)]),
        "pattern": tfseq.Sample(rules=[Automaton.pattern("[A-Z][a-z]{2,9}( [a-z]+){1,3}[.!]?", with_ends)]),
    }

    def export(name: str, make: Callable[[], keras.Model], tokenizer: Any, *names: str, **settings: Any):
        model = varied(make())
        for strategy in names:
            path = folder / f"{name}_{strategy}.onnx"
            tfseq.export(model, path, decode=strategies[strategy], tokenizer=tokenizer, verify=False, **settings)
            yield path

    size = characters.vocabulary_size
    plain = ("greedy", "beam", "sample")
    yield from export("lstm", partial(RecurrentLanguageModel, size, 32, depth=2), characters, *plain)
    gru = partial(RecurrentLanguageModel, size, 32, cell="gru")
    yield from export("gru", gru, characters, "sample", "capped", code_points=False)
    state_space = partial(StateSpaceLanguageModel, size, 16, depth=2, states=4)
    yield from export("state_space", state_space, characters, "sample")
    size = with_ends.vocabulary_size
    ends = {"start": with_ends.start, "end": with_ends.end}
    reader = partial(AttentionSeq2Seq, size, units=32, **ends)
    yield from export("attention", reader, with_ends, "greedy", attention=True)
    yield from export("attention", reader, with_ends, "answers", "pattern")
    size = words.vocabulary_size
    ends = {"start": words.start, "end": words.end}
    reader = partial(AttentionSeq2Seq, size, units=32, cell="lstm", **ends)
    yield from export("words", reader, words, "beam", "sample")
    pair = runtime.TokenizerPair(words, pieces)
    ends = {"start": pieces.start, "end": pieces.end}
    shape = {"units": 32, "heads": 4, "hidden": 64, "depth": 2, "tied": False}
    size = pieces.vocabulary_size
    translator = partial(AttentionSeq2Seq, size, words.vocabulary_size, units=32, **ends)
    yield from export("pair", translator, pair, "greedy")
    yield from export("prefix", translator, pair, "beam", "sample", prefix=True)
    yield from export("transformer", partial(Transformer, size, **shape, **ends), pieces, *plain)
    yield from export("causal", partial(TransformerLanguageModel, size, **shape), pieces, *plain)


def varied(model: keras.Model) -> keras.Model:
    """The model with weights so large that it does not write the same token again and again."""
    language = model.start is None
    tokens = np.ones((1, 2), "int32")
    model(tokens if language else {"source": tokens, "target": tokens})
    for variable in model.trainable_variables:
        if len(variable.shape) == 2:
            variable.assign(2.0 * variable)
    return model


def asked(path: Path) -> dict[str, Any]:
    """What a file writes for held-out lines, in ragged batches, every batch with other settings."""
    model = runtime.load(path)
    inputs = given_to(model, INPUTS)
    names = {spec.name for spec in model.manifest.inputs}
    batches = []
    for i, first in enumerate(range(0, len(inputs), ROWS)):
        given = inputs[first : first + ROWS]
        settings: Any = {name: values[i % len(values)] for name, values in SETTINGS.items() if name in names}
        prompt = PROMPTS[i % len(PROMPTS)] if model.manifest.takes_prefix else None
        prompt = prompt[: len(given)] if isinstance(prompt, list) else prompt
        results = model.generate(given, max_length=24, details=True, prompt=prompt, **settings)
        expected = [
            {
                "text": result.text,
                "tokens": result.tokens.tolist(),
                "score": result.score,
                "attention": None if result.attention is None else result.attention.tolist(),
            }
            for result in results
        ]
        told = {"max_length": 24, **settings, "prompt": prompt}
        batches.append({"given": given, "settings": told, "expected": expected})
    return {"file": str(path), "manifest": model.manifest.to_json(), "batches": batches}


def given_to(model: runtime.Model, count: int) -> list[Any]:
    """Lines of text, or nested lists of an array: what the model reads first."""
    source = model.manifest.inputs[0]
    if source.dtype == "int32" and model.tokenizer is not None:
        return lines(model, count)
    return draw([source], None, count, 17, seed=1)[source.name].tolist()


def classifiers(folder: Path) -> Iterator[Path]:
    """Files that classify texts into two classes with one unit, every step of series, texts that Keras splits into
    words, and strings that it looks up."""
    characters = character_tokenizer("".join(sorted(set("".join(LINES)))))
    layers = keras.layers
    text = [layers.Embedding(characters.vocabulary_size, 8, mask_zero=True), layers.GRU(8), layers.Dense(1, "sigmoid")]
    model = keras.Sequential([keras.Input((None,), dtype="int32"), *text])
    tfseq.export(model, folder / "texts.onnx", labels=["no", "yes"], tokenizer=characters, verify=False)
    yield folder / "texts.onnx"
    steps = [layers.LSTM(8, return_sequences=True), layers.Dense(3, "softmax")]
    model = keras.Sequential([keras.Input((None, 2)), *steps])
    tfseq.export(model, folder / "steps.onnx", labels=["low", "middle", "high"], verify=False)
    yield folder / "steps.onnx"
    vectorize = layers.TextVectorization(max_tokens=300, output_sequence_length=12)
    vectorize.adapt(LEARNED[:300])
    words = [layers.Embedding(300, 8, mask_zero=True), layers.GRU(8), layers.Dense(3, "softmax")]
    model = keras.Sequential([keras.Input((), dtype="string"), vectorize, *words])
    tfseq.export(model, folder / "words.onnx", labels=["low", "middle", "high"], verify=False)
    yield folder / "words.onnx"
    strings = ["", " ", "a", "B", "7", "Größe", "東京"]
    look_up = layers.StringLookup(vocabulary=strings, output_mode="multi_hot", mask_token="word")
    model = keras.Sequential([keras.Input((2,), dtype="string"), look_up, layers.Dense(3, "softmax")])
    tfseq.export(model, folder / "strings.onnx", labels=["low", "middle", "high"], verify=False)
    yield folder / "strings.onnx"


def answered(path: Path) -> dict[str, Any]:
    """What a file makes of inputs: the names of classes where it has them, else its outputs."""
    model = runtime.load(path)
    given = given_to(model, 40)
    spec = model.manifest.inputs[0]
    read = given if isinstance(given[0], str) else np.array(given, object if spec.dtype == "string" else spec.dtype)
    if model.manifest.labels:
        return {"file": str(path), "given": given, "classes": model.classify(read)}
    outputs = {name: array.tolist() for name, array in model.run({spec.name: read}).items()}
    return {"file": str(path), "given": {spec.name: given}, "outputs": outputs}


def lines(model: Any, count: int) -> list[str]:
    """Beginnings of held-out lines of different lengths, and hard ones, at least one token each."""
    chance = random.Random(count)
    found = [line for line in HARD if len(model.tokenizer.encode(line))]
    while len(found) < count:
        line = chance.choice(HELD_OUT)[: chance.randint(1, 40)]
        found += [line] if len(model.tokenizer.encode(line)) else []
    chance.shuffle(found)
    return found


def step_files(folder: Path) -> Iterator[Path]:
    """Files of one decode step: a character-level and a subword language model, and a word-level encoder-decoder."""
    characters = character_tokenizer("".join(sorted(set("".join(LINES)))))
    words, pieces = word_tokenizer(LEARNED, 600, append_end=True), subword_tokenizer(LEARNED, 500)
    recurrent = RecurrentLanguageModel(characters.vocabulary_size, 32)
    causal = TransformerLanguageModel(pieces.vocabulary_size, 32, heads=4, depth=2)
    reader = AttentionSeq2Seq(words.vocabulary_size, units=32, start=words.start, end=words.end)
    models = {"lstm_steps": (recurrent, characters), "causal_steps": (causal, pieces), "words_steps": (reader, words)}
    for name, (model, tokenizer) in models.items():
        path = folder / f"{name}.onnx"
        rules = [Automaton.pattern("( ?[a-z]+){2,9}", tokenizer)] if name == "words_steps" else []
        decode = tfseq.Sample(rules=rules)
        tfseq.export(varied(model), path, decode=decode, tokenizer=tokenizer, streaming=True, verify=False)
        yield path


def streamed(path: Path) -> dict[str, Any]:
    """What a file of one decode step writes piece by piece, and when it is told to go on."""
    model = runtime.load(path)
    texts = []
    for i, given in enumerate(lines(model, 25)):
        settings: dict[str, Any] = {"temperature": [1.0, 0.0][i % 2], "seed": i}
        if not model.continues_prompts:
            settings["prompt"] = ["", "Two men", [5, 7]][i % 3]
        stream = model.stream_text(given, max_length=16, **settings)
        pieces = list(stream)
        more = None if stream.ended else list(stream.more(" and", max_length=5))
        expected = {"pieces": pieces, "more": more, "tokens": stream.tokens, "score": stream.score}
        texts.append({"given": given, "settings": {"max_length": 16, **settings}, "expected": expected})
    return {"file": str(path), "texts": texts}


def predicted(folder: Path) -> dict[str, Any]:
    """A forward graph, and one that reads a sequence in chunks."""
    random_numbers = np.random.default_rng(0)
    inputs = [keras.Input((3,), name="numbers"), keras.Input((None,), dtype="int64", name="tokens")]
    embedded = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(7, 4)(inputs[1]))
    scores = keras.layers.Dense(5, name="scores")(keras.layers.Concatenate()([inputs[0], embedded]))
    best = keras.layers.Lambda(lambda x: keras.ops.cast(keras.ops.argmax(x, axis=-1), "int64"), name="best")(scores)
    above = keras.layers.Lambda(lambda x: x > 0, name="above")(scores)
    model = keras.Model(inputs, {"scores": scores, "best": best, "above": above})
    tfseq.export(model, folder / "forward.onnx", verify=False)
    given = {
        "numbers": random_numbers.normal(size=(4, 3)).astype("float32"),
        "tokens": random_numbers.integers(0, 7, (4, 6)),
    }
    forward = runtime.load(folder / "forward.onnx").run(given)
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.GRU(4, return_sequences=True)])
    tfseq.export(model, folder / "chunks.onnx", streaming=True, verify=False)
    opened = runtime.load(folder / "chunks.onnx")
    stream, name = opened.stream(), opened.manifest.inputs[0].name
    readings = random_numbers.normal(size=(2, 10, 3)).astype("float32")
    read = []
    for chunk in np.split(readings, [4, 5], axis=1):
        read.append({"given": {name: chunk.tolist()}, "expected": np.asarray(stream.predict(chunk)).tolist()})
    lists = [{name: array.tolist() for name, array in arrays.items()} for arrays in (given, forward)]
    return {
        "forward": {"file": str(folder / "forward.onnx"), "given": lists[0], "expected": lists[1]},
        "chunks": {"file": str(folder / "chunks.onnx"), "chunks": read},
    }


if __name__ == "__main__":
    main()
