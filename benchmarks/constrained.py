"""Constrained decoding: samples that match, the same tokens in Keras, ONNX Runtime and Node, and what it costs.

    python -m benchmarks.constrained                  # 1,000 samples for each rule, of a model trained in a minute
    python -m benchmarks.constrained --against TREE   # also: graphs without rules, node by node as that tree makes them

A GRU learns lines of dates, half of them broken, and then has to write right ones: by a pattern, out of a list, or as
JSON. What it writes is checked by Python's `re` and `json`, which share nothing with the automaton in the graph. Node
takes part where clients/js has its node_modules.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PROMPT, MOST, ROWS, SEED = "date: ", 40, 250, 7
DATE = r"(?:19|20)\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
ANSWERS = ["yesterday", "today", "tomorrow", "2024-02-29"]
SCHEMA = {
    "type": "object",
    "properties": {"year": {"type": "integer"}, "leap": {"type": "boolean"}},
    "required": ["year"],
}
LINES = (
    "{y}-{m:02}-{d:02}",
    "{y}-{m}-{d}",
    "{d}/{m}/{y}",
    "yesterday",
    "today or tomorrow",
    '{{"year":{y},"leap":{leap}}}',
    '{{"year": {y}',
)


def trained(steps: int) -> tuple[Any, Any]:
    """A character model of lines about dates, and its tokenizer."""
    import keras
    import numpy as np

    from tfseq.data import character_tokenizer
    from tfseq.models import RecurrentLanguageModel

    draw = random.Random(0)
    lines = [
        PROMPT
        + draw.choice(LINES).format(
            y=draw.randint(1900, 2099),
            m=draw.randint(1, 19),
            d=draw.randint(1, 39),
            leap=draw.choice(["true", "false"]),
        )
        for _ in range(2000)
    ]
    tokenizer = character_tokenizer("".join(sorted({*"".join(lines), *"".join(ANSWERS)})), start_and_end=True)
    ids = [[*tokenizer.encode(line), tokenizer.end] for line in lines]
    longest = max(map(len, ids))
    padded = np.array([row + [-1] * (longest - len(row)) for row in ids], "int32")
    keras.utils.set_random_seed(0)
    model = RecurrentLanguageModel(tokenizer.vocabulary_size, 128, cell="gru", end=tokenizer.end)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
    model.compile(keras.optimizers.Adam(5e-3), loss)
    epochs = max(1, steps * 64 // len(lines))
    model.fit(np.maximum(padded[:, :-1], 0), padded[:, 1:], batch_size=64, epochs=epochs, verbose=0)
    return model, tokenizer


def rules(tokenizer: Any) -> dict[str, tuple[Any, Callable[[str], bool]]]:
    """Of each rule: it, and whether a text keeps to it, found out independently."""
    from tfseq.decoding import Automaton

    def fits(text: str) -> bool:
        try:
            value = json.loads(text)
        except ValueError:
            return False
        whole = isinstance(value, dict) and {"year"} <= value.keys() <= {"year", "leap"}
        return whole and type(value["year"]) is int and type(value.get("leap", True)) is bool

    return {
        "a pattern": (Automaton.pattern(DATE, tokenizer), lambda text: bool(re.fullmatch(DATE, text))),
        "a list": (Automaton.answers(ANSWERS, tokenizer), lambda text: text in ANSWERS),
        "a JSON schema": (Automaton.json_schema(SCHEMA, tokenizer), fits),
    }


def in_keras(model: Any, tokenizer: Any, strategy: Any, seeds: range) -> list[list[int]]:
    import numpy as np

    import tfseq

    prompt = np.tile(tokenizer.encode(PROMPT), (ROWS, 1))
    rows: list[list[int]] = []
    for seed in seeds:
        tokens, lengths, *_ = tfseq.generate(model, prompt, decode=strategy, max_length=MOST, seed=seed)
        rows += [row[:n].tolist() for row, n in zip(np.asarray(tokens), np.asarray(lengths))]
    return rows


def in_onnxruntime(path: Path, seeds: range) -> list[list[int]]:
    from tfseq import runtime

    model = runtime.load(path)
    calls = (model.generate([PROMPT] * ROWS, MOST, details=True, seed=seed) for seed in seeds)
    return [result.tokens.tolist() for results in calls for result in results]


def in_node(path: Path, seeds: range) -> list[list[int]] | None:
    """None where Node, or what the client needs, is not there."""
    if not (ROOT / "clients/js/node_modules").exists():
        return None
    calls = [{"texts": [PROMPT] * ROWS, "settings": {"maxLength": MOST, "seed": seed}} for seed in seeds]
    command = ["node", str(ROOT / "benchmarks/harness/run_generations.mjs"), str(path)]
    done = subprocess.run(command, input=json.dumps(calls), capture_output=True, text=True, check=True)
    return [row for rows in json.loads(done.stdout.splitlines()[-1]) for row in rows]


def seconds_per_token(path: Path, settings: dict[str, Any], rounds: int) -> list[float]:
    """Of 64 tokens, one row, in each round."""
    from tfseq import runtime

    model, spent = runtime.load(path, threads=1), []
    model.generate(PROMPT, 64, **settings)
    for _ in range(rounds):
        started = time.perf_counter()
        for seed in range(20):
            model.generate(PROMPT, 64, seed=seed, **settings)
        spent.append((time.perf_counter() - started) / 20 / 64)
    return spent


def node_lists() -> dict[str, Any]:
    """Of loops without rules: inputs and nodes, those of inner graphs in their place."""
    import keras
    import numpy as np
    import onnx

    import tfseq
    from tfseq.models import AttentionSeq2Seq, RecurrentLanguageModel, TransformerLanguageModel

    def nodes(graph: Any) -> list[Any]:
        inner = lambda node: [nodes(part.g) for part in node.attribute if part.HasField("g")]  # noqa: E731
        return [[node.op_type, len(node.input), len(node.output), inner(node)] for node in graph.node]

    keras.utils.set_random_seed(0)
    read, found = np.ones((1, 2), "int32"), {}
    models: dict[str, Any] = {
        "Transformer language model": TransformerLanguageModel(50, units=16, heads=2, depth=1, end=2),
        "GRU language model": RecurrentLanguageModel(50, 16, cell="gru"),
        "attention seq2seq": AttentionSeq2Seq(50, units=16),
    }
    strategies = {
        "greedy": tfseq.Greedy(),
        "greedy, penalized": tfseq.Greedy(repetition_penalty=1.2, forbidden=(7,)),
        "sample": tfseq.Sample(),
        "beam": tfseq.Beam(3),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        for name, model in models.items():
            model(read if model.start is None else {"source": read, "target": read})
            for decoding, strategy in strategies.items():
                tfseq.export(model, path, decode=strategy, verify=False)
                graph = onnx.load(path).graph
                found[f"{name}, {decoding}"] = [[each.name for each in graph.input], nodes(graph)]
    return found


def of_tree(tree: Path) -> dict[str, Any]:
    """`node_lists` as another tree makes them."""
    environment = os.environ | {"PYTHONPATH": str(tree), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, __file__, "--nodes"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tree)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000, help="of each rule (%(default)s)")
    parser.add_argument("--steps", type=int, default=600, help="of training (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of timing (%(default)s)")
    parser.add_argument("--against", type=Path, help="another checkout, such as a git worktree of an older commit")
    parser.add_argument("--nodes", action="store_true", help="only print what graphs without rules are made of")
    arguments = parser.parse_args()
    if arguments.nodes:
        print(json.dumps(node_lists()))
        return
    import statistics

    import tfseq
    from benchmarks.harness.machine import machine

    seeds = range(SEED, SEED + -(-arguments.samples // ROWS))
    model, tokenizer = trained(arguments.steps)
    print(machine(), end="\n\n")
    print("| rule | states | match without it | with it | as in Keras: ONNX Runtime | Node | time per token |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        free, ruled = Path(folder, "free.onnx"), Path(folder, "ruled.onnx")

        def exported(path: Path, strategy: Any) -> None:
            tfseq.export(model, path, decode=strategy, tokenizer=tokenizer, code_points=False, verify=False)

        exported(free, tfseq.Sample())
        before = [tokenizer.decode(row) for row in in_onnxruntime(free, seeds)]
        exported(ruled, tfseq.Sample(rules=[tfseq.decoding.Automaton.pattern(r".{64}", tokenizer)]))
        ratios = []
        for _ in range(arguments.rounds):
            unruled, own = seconds_per_token(free, {"min_length": 64}, 1), seconds_per_token(ruled, {}, 1)
            ratios.append(own[0] / unruled[0])
        cost = f"{statistics.median(ratios):.2f} times ({min(ratios):.2f} to {max(ratios):.2f})"
        for name, (rule, fits) in rules(tokenizer).items():
            strategy = tfseq.Sample(rules=[rule])
            exported(ruled, strategy)
            expected, written, by_node = (
                in_keras(model, tokenizer, strategy, seeds),
                in_onnxruntime(ruled, seeds),
                in_node(ruled, seeds),
            )
            texts = [tokenizer.decode(row) for row in written]
            same = sum(a == b for a, b in zip(expected, written))
            node = "could not run" if by_node is None else sum(a == b for a, b in zip(expected, by_node))
            count = len(texts)
            cells = [
                name,
                len(rule.next),
                f"{sum(map(fits, before))} of {count}",
                f"{sum(map(fits, texts))} of {count}",
            ]
            print("|", " | ".join(map(str, [*cells, f"{same} of {count}", node, cost])), "|")
            cost = '"'
    print("\nTime per token: of a pattern of any 64 characters, beside 64 tokens without a rule, in turn, one thread.")
    if arguments.against:
        ours, theirs = node_lists(), of_tree(arguments.against)
        unchanged = sum(ours[name] == theirs.get(name) for name in ours)
        print(f"\nGraphs without rules: {unchanged} of {len(ours)} have the same inputs and nodes, in the same order.")


if __name__ == "__main__":
    main()
