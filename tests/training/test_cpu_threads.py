"""Streams and threads on machines of other sizes: the decision, not the time."""

import random
import subprocess
import sys

import pytest

pytest.importorskip("tensorflow")

from tfseq.layers.batch_streams import SMALLEST_STREAM, stream_count
from tfseq.training.cpu_threads import thread_counts


@pytest.mark.parametrize(
    ("batch", "streams"),
    [(64, (1, 4, 8, 8)), (32, (1, 4, 4, 4)), (128, (1, 4, 8, 16)), (50, (1, 2, 5, 5)), (7, (1, 1, 1, 1))],
)
def test_streams_on_1_4_8_and_16_cores(batch, streams):
    assert tuple(stream_count(batch, cores) for cores in (1, 4, 8, 16)) == streams


@pytest.mark.parametrize("seed", range(50))
def test_streams_cut_any_batch_evenly_and_none_is_too_short(seed):
    draw = random.Random(seed)
    batch, cores = draw.randint(1, 300), draw.randint(1, 64)
    streams = stream_count(batch, cores)
    assert 1 <= streams <= cores
    assert batch % streams == 0
    assert streams == 1 or batch // streams >= SMALLEST_STREAM
    more = [n for n in range(streams + 1, cores + 1) if batch % n == 0 and batch // n >= SMALLEST_STREAM]
    assert not more


def test_a_batch_that_is_unknown_while_tracing_is_one_stream():
    assert stream_count(None, 16) == 1


@pytest.mark.parametrize(
    ("cores", "batch", "threads"),
    [
        (1, 64, (1, 1)),
        (2, 64, (1, 2)),
        (4, 64, (1, 4)),
        (8, 64, (1, 8)),
        (16, 64, (16, 16)),  # eight streams only: the other cores share products
        (16, 128, (1, 16)),
        (4, 32, (1, 4)),
        (8, 32, (8, 8)),
        (16, None, (1, 16)),
    ],
)
def test_products_are_shared_where_streams_leave_cores_over(cores, batch, threads):
    assert thread_counts(cores, batch) == threads


def test_the_quota_of_a_container_decides_and_not_the_host(tmp_path):
    """TensorFlow is asked for as many threads as the quota allows, on a host of however many cores."""
    code = (
        "from tfseq import machine; machine.cpu_quota = lambda *_: 1.0\n"
        "from tfseq.training import one_stream_per_core; one_stream_per_core(64)\n"
        "import tensorflow as tf; print(tf.config.threading.get_inter_op_parallelism_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
