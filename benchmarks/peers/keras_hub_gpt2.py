"""KerasHub's own `generate` of GPT-2, on TensorFlow or JAX.

    KERAS_BACKEND=jax python -m benchmarks.peers.keras_hub_gpt2 FOLDER

`--no-jit` leaves TensorFlow's graph uncompiled.
"""

import argparse
import os
from pathlib import Path

import numpy as np

from benchmarks.harness.gpt2_task import THREADS, GPT2Task, gpt2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backend", choices=("tensorflow", "jax"), default="tensorflow")
    parser.add_argument("--no-jit", action="store_true")
    arguments = parser.parse_args()
    os.environ["KERAS_BACKEND"] = arguments.backend  # before Keras is imported
    if arguments.backend == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(THREADS)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    task = GPT2Task.read(arguments.folder)
    model = gpt2(task.size)
    model.load_weights(arguments.folder / "gpt2.weights.h5")
    model.compile(sampler="greedy", **({"jit_compile": False} if arguments.no_jit else {}))

    def generate(prompts, new):
        batch, read = prompts.shape
        tokens = np.concatenate([prompts, np.zeros((batch, new), "int32")], axis=1)
        real = np.broadcast_to(np.arange(read + new) < read, tokens.shape)
        made = model.generate({"token_ids": tokens, "padding_mask": real}, stop_token_ids=None)
        return np.asarray(made["token_ids"])[:, read:]

    way = f"{arguments.backend}{'_no_jit' if arguments.no_jit else ''}"
    task.measure(generate, arguments.folder / f"KerasHub_{way}.npz")


if __name__ == "__main__":
    main()
