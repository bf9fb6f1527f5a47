"""Writes what JavaScript is compared with: exported files, and what Python's runtime makes of them.

python clients/js/test/fixtures.py FOLDER: the files go to FOLDER, what they answer to FOLDER/answers.json. The models
are small and random; those in exported/ are asked too.
"""

import argparse
import json
import os
import random
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from pydoc_data import topics
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

import tfseq
from tfseq import runtime
from tfseq.data import character_tokenizer, subword_tokenizer, word_tokenizer
from tfseq.models import AttentionSeq2Seq, RecurrentLanguageModel, Transformer, TransformerLanguageModel
from tfseq.runtime import SubwordTokenizer

INPUTS, ROWS = 200, 8  # per file; per batch
LINES = [line.strip() for text in topics.topics.values() for line in text.splitlines() if len(line.strip()) > 8]
LEARNED, HELD_OUT = LINES[:4000], LINES[4000:]
SETTINGS = {  # of one batch after another
    "temperature": [0.7, 0.0, 1.0, 1.3],
    "top_k": [0, 5, 0, 20],
    "top_p": [1.0, 1.0, 0.9, 0.5],
    "seed": [1, -7, 2**31 - 1, 123456],
    "min_length": [0, 0, 5],
    "length_penalty": [1.0, 0.0, 0.6, 2.0],
    "repetition_penalty": [1.3, 1.0, 2.0],
}
HARD = [  # what Unicode libraries disagree about, in characters that all of them know
    *["Grüße aus Köln — naïve café", "e\u0301 é ﬁ ﬀ ①", "Привет, мир! Ёлка", "日本語のテキスト、東京。", "मैं हिन्दी हूँ", "אבג دهؤ"],
    *["👍🏽 👨‍👩‍👧 🇩🇪 x", "a\tb\nc  d\u00a0e\u2003f\u3000g\u0085h\ufeffi\u200bj\x1ck", "it's we'll I'M don't D'où", "ΑΣ ΑΣΑ ὈΔΥΣΣΕΎΣ"],
    *["1234 5.6 ٣٤ Ⅷ ² x² ½", "x_y __init__ <unk> </s> <end>", "İstanbul DŽ ǅ ß ſ K", "ＡＢＣ １２３ ｶﾞ", "a\x00b", "\ud800 lone", "▁under", "$& $1"],
]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore", runtime.UnknownCharacterWarning)
    keras.utils.set_random_seed(0)
    kept = sorted(Path(__file__).parents[3].glob("exported/*/model.onnx"))
    answers = {
        "tokenizers": tokenizer_answers(),
        "generate": [asked(path) for path in [*kept, *written(folder)]],
        "stream": [streamed(path) for path in step_files(folder)],
        "predict": predicted(folder),
    }
    (folder / "answers.json").write_text(json.dumps(answers))


def written(folder: Path) -> Iterator[Path]:
    """One file per kind of generator, of tokenizer and of strategy."""
    characters = character_tokenizer("".join(sorted(set("".join(LINES)))))
    with_ends = character_tokenizer("".join(sorted(set("".join(LINES)))), start_and_end=True)
    words, pieces = word_tokenizer(LEARNED, 600, append_end=True), subword_tokenizer(LEARNED, 500)
    strategies = {
        "greedy": tfseq.Greedy(repetition_penalty=1.3),
        "beam": tfseq.Beam(4),
        "sample": tfseq.Sample(forbidden=(0,)),
    }

    def export(name: str, model: Callable[[], keras.Model], tokenizer: Any, *names: str, **settings: Any):
        model = varied(model())
        for strategy in names:
            path = folder / f"{name}_{strategy}.onnx"
            tfseq.export(model, path, decode=strategies[strategy], tokenizer=tokenizer, verify=False, **settings)
            yield path

    size = characters.vocabulary_size
    yield from export("lstm", lambda: RecurrentLanguageModel(size, 32, depth=2), characters, *strategies)
    yield from export("gru", lambda: RecurrentLanguageModel(size, 32, cell="gru"), characters, "sample", code_points=False)
    size = with_ends.vocabulary_size
    yield from export("attention", lambda: AttentionSeq2Seq(size, units=32), with_ends, "greedy", attention=True)
    size = words.vocabulary_size
    ends = {"start": words.start, "end": words.end}
    yield from export("words", lambda: AttentionSeq2Seq(size, units=32, cell="lstm", **ends), words, "beam", "sample")
    ends = {"start": pieces.start, "end": pieces.end}
    shape = {"units": 32, "heads": 4, "hidden": 64, "depth": 2, "tied": False}
    size = pieces.vocabulary_size
    yield from export("transformer", lambda: Transformer(size, **shape, **ends), pieces, *strategies)
    yield from export("causal", lambda: TransformerLanguageModel(size, **shape), pieces, "beam", "sample")


def varied(model: keras.Model) -> keras.Model:
    """The model with weights so large that it does not write the same symbol again and again."""
    language = model.start is None
    symbols = np.ones((1, 2), "int32")
    model(symbols if language else {"source": symbols, "target": symbols})
    for variable in model.trainable_variables:
        if len(variable.shape) == 2:
            variable.assign(2.0 * variable)
    return model


def asked(path: Path) -> dict[str, Any]:
    """What a file writes for held-out lines, in ragged batches, every batch with other settings."""
    model = runtime.load(path)
    texts = lines(model, INPUTS)
    names = {spec.name for spec in model.manifest.inputs}
    batches = []
    for i, first in enumerate(range(0, len(texts), ROWS)):
        given = texts[first : first + ROWS]
        settings = {name: values[i % len(values)] for name, values in SETTINGS.items() if name in names}
        results = model.generate(given, max_length=24, details=True, **settings)
        expected = [
            {
                "text": result.text,
                "tokens": result.tokens.tolist(),
                "score": result.score,
                "attention": None if result.attention is None else result.attention.tolist(),
            }
            for result in results
        ]
        batches.append({"given": given, "settings": {"max_length": 24, **settings}, "expected": expected})
    return {"file": str(path), "manifest": model.manifest.to_json(), "batches": batches}


def lines(model: Any, count: int) -> list[str]:
    """Beginnings of held-out lines of different lengths, and hard ones, at least one token each."""
    draw = random.Random(count)
    found = [line for line in HARD if len(model.tokenizer.encode(line))]
    while len(found) < count:
        line = draw.choice(HELD_OUT)[: draw.randint(1, 40)]
        found += [line] if len(model.tokenizer.encode(line)) else []
    draw.shuffle(found)
    return found


def step_files(folder: Path) -> Iterator[Path]:
    characters = character_tokenizer("".join(sorted(set("".join(LINES)))))
    pieces = subword_tokenizer(LEARNED, 500)
    recurrent = varied(RecurrentLanguageModel(characters.vocabulary_size, 32))
    causal = varied(TransformerLanguageModel(pieces.vocabulary_size, 32, heads=4, depth=2))
    for name, model, tokenizer, strategy in (
        ("lstm_steps", recurrent, characters, tfseq.Sample()),
        ("causal_steps", causal, pieces, tfseq.Sample()),
    ):
        path = folder / f"{name}.onnx"
        tfseq.export(model, path, decode=strategy, tokenizer=tokenizer, streaming=True, verify=False)
        yield path


def streamed(path: Path) -> dict[str, Any]:
    model = runtime.load(path)
    texts = []
    for i, given in enumerate(lines(model, 25)):
        settings = {"temperature": [1.0, 0.0][i % 2], "seed": i}
        stream = model.stream_text(given, max_length=16, **settings)
        pieces = list(stream)
        more = list(stream.more(" and", max_length=5))
        expected = {"pieces": pieces, "more": more, "tokens": stream.tokens, "score": stream.score}
        texts.append({"given": given, "settings": {"max_length": 16, **settings}, "expected": expected})
    return {"file": str(path), "texts": texts}


def predicted(folder: Path) -> dict[str, Any]:
    """A forward graph, and one that reads a sequence in chunks."""
    draw = np.random.default_rng(0)
    inputs = [keras.Input((3,), name="numbers"), keras.Input((None,), dtype="int64", name="symbols")]
    embedded = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(7, 4)(inputs[1]))
    scores = keras.layers.Dense(5, name="scores")(keras.layers.Concatenate()([inputs[0], embedded]))
    best = keras.layers.Lambda(lambda x: keras.ops.cast(keras.ops.argmax(x, axis=-1), "int64"), name="best")(scores)
    above = keras.layers.Lambda(lambda x: x > 0, name="above")(scores)
    model = keras.Model(inputs, {"scores": scores, "best": best, "above": above})
    tfseq.export(model, folder / "forward.onnx", verify=False)
    given = {"numbers": draw.normal(size=(4, 3)).astype("float32"), "symbols": draw.integers(0, 7, (4, 6))}
    forward = runtime.load(folder / "forward.onnx").run(given)
    model = keras.Sequential([keras.Input((None, 3)), keras.layers.GRU(4, return_sequences=True)])
    tfseq.export(model, folder / "chunks.onnx", streaming=True, verify=False)
    stream = runtime.load(folder / "chunks.onnx").stream()
    name = stream._inputs[0].name
    readings = draw.normal(size=(2, 10, 3)).astype("float32")
    chunks = np.split(readings, [4, 5], axis=1)
    read = [{"given": {name: chunk.tolist()}, "expected": stream.predict(chunk).tolist()} for chunk in chunks]
    as_lists = lambda arrays: {name: array.tolist() for name, array in arrays.items()}  # noqa: E731
    return {
        "forward": {"file": str(folder / "forward.onnx"), "given": as_lists(given), "expected": as_lists(forward)},
        "chunks": {"file": str(folder / "chunks.onnx"), "chunks": read},
    }


def tokenizer_answers() -> list[dict[str, Any]]:
    """Words and pieces of words of many kinds, on hard texts and random ones."""
    draw = random.Random(0)
    texts = [*HARD, "", " ", "\n", *(random_text(draw) for _ in range(600))]
    answers = []
    for name, tokenizer in libraries():
        ids = [tokenizer.encode(text).tolist() for text in texts]
        others = [[draw.randrange(tokenizer.vocabulary_size) for _ in range(draw.randint(0, 20))] for _ in range(200)]
        decoded = [[row, tokenizer.decode(row)] for row in [*ids, *others]]
        description = tokenizer.to_json()
        answers.append({"name": name, "description": description, "texts": texts, "ids": ids, "decoded": decoded})
    return answers


def libraries() -> Iterator[tuple[str, SubwordTokenizer]]:
    texts = LEARNED[:1500] + HARD * 5
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    yield "word_tokenizer", word_tokenizer(texts, 500)
    yield "subword_tokenizer", subword_tokenizer(texts, 600)
    special = ["<pad>", "<unk>", "<s>", "</s>"]
    bpe = {"vocab_size": 600, "special_tokens": special, "show_progress": False}
    unigram = models.Unigram, trainers.UnigramTrainer(**bpe, unk_token="<unk>")
    word = (lambda: models.WordLevel(unk_token="<unk>")), trainers.WordLevelTrainer(**bpe)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    byte = models.BPE, trainers.BpeTrainer(**bpe, initial_alphabet=alphabet)
    fallback = [f"<0x{i:02X}>" for i in range(256)]
    with_bytes = (
        lambda: models.BPE(byte_fallback=True, unk_token="<unk>"),
        trainers.BpeTrainer(vocab_size=700, special_tokens=[*special, *fallback], show_progress=False),
    )
    spaces = pre_tokenizers.Metaspace(), decoders.Metaspace()
    small = normalizers.Sequence([normalizers.Strip(), normalizers.NFKC(), normalizers.Lowercase()])
    kinds: list[tuple[str, tuple, Any, Any, Any]] = [
        ("words", word, None, pre_tokenizers.Whitespace(), None),
        ("spaces, small", word, small, pre_tokenizers.WhitespaceSplit(), None),
        ("digits", word, None, pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits(True)]), None),
        ("bytes with a space", byte, None, pre_tokenizers.ByteLevel(add_prefix_space=True), decoders.ByteLevel()),
        ("unigram", unigram, normalizers.NFKC(), *spaces),
        ("unigram over all", unigram, None, pre_tokenizers.Metaspace(split=False), decoders.Metaspace()),
        ("byte fallback", with_bytes, None, spaces[0], byte_decoder()),
    ]
    for name, (model, trainer), normalizer, splitter, decoder in kinds:
        library = Tokenizer(model())
        for part, value in {"normalizer": normalizer, "pre_tokenizer": splitter, "decoder": decoder}.items():
            if value is not None:
                setattr(library, part, value)
        library.train_from_iterator(texts, trainer)
        yield name, SubwordTokenizer(library.to_str(), 2, 3)


def byte_decoder() -> decoders.Decoder:
    parts = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    return decoders.Sequence(parts)


def random_text(draw: random.Random) -> str:
    """Of characters that Unicode 3.2 has already: newer ones are not in all tables."""
    length = draw.randint(1, 40)
    if draw.random() < 0.3:
        return draw.choice(HELD_OUT)[:length]
    if draw.random() < 0.5:
        pieces: Sequence[str] = [" ", "  ", "\n", "\r", "\x85", "\u2028", "\xa0", "'s", "é", "e\u0301", "İ", "Σ", "\ufeff"]
        return "".join(draw.choice([*pieces, "\u200d", "\x1c", "1", "a", "▁", "</s>", "<unk>"]) for _ in range(length))
    top = draw.choice([0x80, 0x250, 0x3100, 0x30000])
    characters = (chr(draw.randrange(top)) for _ in range(length))
    return "".join(c for c in characters if unicodedata.ucd_3_2_0.category(c) not in ("Cn", "Cs")) or "a"


if __name__ == "__main__":
    main()
