"""Nats per character of unseen tunes after equal CPU time: our character LSTM and the recipe of MIT's lab on music.

    pip install -e ".[train-cpu,bench]"
    python -m benchmarks.music FILE          # irish.abc

Ours trains its full recipe (`python -m pipelines.music full`); the peer then gets as many CPU seconds. Both learn from
the same tunes in plain notation and are measured on the same others; the peer keeps the weights that do best on the
validation tunes, as ours does. Seconds are those of one core: pin the command to one.
"""

import argparse
import json
import time
from pathlib import Path

from benchmarks.harness.failures import Failure
from benchmarks.harness.rounds import Run, report, take_turns

PEER = "the lab's LSTM"


def train_ours(path: str) -> dict[str, float]:
    from pipelines.music import FULL, fit, load, nats_of
    from tfseq.exporting import as_float32
    from tfseq.training import one_stream_per_core

    one_stream_per_core()
    tunes = load(Path(path))
    started = time.process_time()
    model, history = fit(FULL, tunes, Path("runs", "music_benchmark"))
    seconds = time.process_time() - started
    exact = as_float32(model)
    nats, validation = (nats_of(exact, part, tunes.tokenizer) for part in (tunes.test, tunes.validation))
    return {"nats": nats, "validation_nats": validation, "seconds": seconds, "iterations": history[-1]["step"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="tunes in ABC notation")
    parser.add_argument("--ours", action="store_true", help="only ours, in this process")
    arguments = parser.parse_args()
    if arguments.ours:
        print(json.dumps(train_ours(arguments.file)))
        return
    (ours,) = take_turns({"tfseq": ["benchmarks.music", arguments.file, "--ours"]}, 1)["tfseq"]
    peer: Run = Failure("it trains for as long as tfseq, which failed")
    if not isinstance(ours, Failure):
        (peer,) = take_turns({PEER: ["benchmarks.peers.mit_lab", arguments.file, str(ours["seconds"])]}, 1)[PEER]
    results = {"tfseq": [ours], PEER: [peer]}
    print(report(results, "nats", PEER, "test nats per character"))
    print()
    print(report(results, "seconds", PEER, "CPU seconds of training"))


if __name__ == "__main__":
    main()
