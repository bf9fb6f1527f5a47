"""Float32 products beside bfloat16 ones on this machine: would a product timed for a moment tell in which to train?

    pip install -e ".[train-cpu]"
    python -m benchmarks.products

What a training step makes of it is in `benchmarks.recurrent_training`. Where the two disagree, a timed product is no
way to decide: `tfseq.machine.multiplies_bfloat16` goes by instruction sets.
"""

import argparse
import os
import statistics
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.harness.machine import machine

SIZES = ((64, 512, 2048), (256, 512, 512), (32, 256, 1024), (2048, 256, 1024))  # rows, inner, columns
TURNS = 9  # of each precision, in turn


def measure(size: tuple[int, int, int]) -> dict[str, list[float]]:
    """Milliseconds of (rows, inner) by (inner, columns), by precision and turn."""
    import tensorflow as tf

    rows, inner, columns = size
    a, b = tf.random.normal((rows, inner)), tf.random.normal((inner, columns))
    factors = {name: (tf.cast(a, name), tf.cast(b, name)) for name in ("float32", "bfloat16")}
    times: dict[str, list[float]] = {name: [] for name in factors}
    for turn in range(TURNS + 1):
        for name, (x, y) in factors.items():
            start = time.perf_counter()
            tf.matmul(x, y).numpy()
            if turn:  # the first warms up
                times[name].append(1e3 * (time.perf_counter() - start))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    print(machine(), "", "| product | float32, ms | bfloat16, ms | float32 / bfloat16 | min to max |", sep="\n")
    print("|---|---|---|---|---|")
    for size in SIZES:
        times = measure(size)
        ratios = [single / half for single, half in zip(times["float32"], times["bfloat16"])]
        medians = [statistics.median(times[name]) for name in ("float32", "bfloat16")]
        print(
            f"| {' x '.join(map(str, size))} | {medians[0]:.2f} | {medians[1]:.2f} | {statistics.median(ratios):.2f} "
            f"| {min(ratios):.2f} to {max(ratios):.2f} |"
        )


if __name__ == "__main__":
    main()
