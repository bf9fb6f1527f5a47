"""The precision to train in: what the machine decides, what a checkpoint records, and that a resumed run keeps it."""

import keras
import numpy as np
import pytest

pytest.importorskip("tensorflow")

from tfseq import machine
from tfseq.data import contiguous_streams, evaluation_stream
from tfseq.models import RecurrentLanguageModel
from tfseq.training import TrainingSettings, fit, precision
from tfseq.training.checkpoint import save_checkpoint
from tfseq.training.precision import explained_precision, of_gpu, precision_of, recorded_precision, training_precision

HAS_BFLOAT16 = frozenset({"avx2", "avx512_bf16"})


@pytest.fixture
def on_cpu_with(monkeypatch):
    """A function that makes this a CPU with some flags, as a process that has just begun sees it."""

    def become(flags):
        precision._decided.cache_clear()
        monkeypatch.setattr(machine, "cpu_flags", lambda: flags)
        for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "XLA_FLAGS", "TF_ENABLE_ONEDNN_OPTS"):
            monkeypatch.delenv(name, raising=False)

    yield become
    precision._decided.cache_clear()


def test_auto_follows_the_processor_and_explicit_values_stay(on_cpu_with):
    on_cpu_with(HAS_BFLOAT16)
    assert training_precision("auto") == "mixed_bfloat16"
    assert training_precision("float32") == "float32"
    on_cpu_with(frozenset({"avx2"}))
    assert training_precision("auto") == "float32"
    assert training_precision("mixed_bfloat16") == "mixed_bfloat16"


def test_it_is_decided_once_per_process(on_cpu_with, monkeypatch):
    on_cpu_with(HAS_BFLOAT16)
    before = training_precision()
    monkeypatch.setattr(machine, "cpu_flags", lambda: frozenset())
    assert training_precision() == before == "mixed_bfloat16"


def test_a_resumed_run_keeps_what_its_checkpoint_says_on_another_machine(on_cpu_with, tmp_path):
    checkpoint = tmp_path / "checkpoint.npz"
    save_checkpoint(checkpoint, [], {"identity": {}, "precision": "mixed_bfloat16"})
    on_cpu_with(frozenset({"avx2"}))
    assert explained_precision("auto", checkpoint) == ("mixed_bfloat16", "as the run began")
    assert explained_precision("auto")[0] == "float32"
    assert explained_precision("float32", checkpoint) == ("float32", "as asked")


@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint", b"PK\x05\x06" + bytes(18), b"PK\x03\x04"])
def test_a_checkpoint_that_says_nothing_leaves_it_to_the_machine(on_cpu_with, tmp_path, content):
    checkpoint = tmp_path / "checkpoint.npz"
    if content is not None:
        checkpoint.write_bytes(content)
    on_cpu_with(frozenset())
    assert recorded_precision(checkpoint) is None
    assert explained_precision("auto", checkpoint)[0] == "float32"


@pytest.mark.parametrize(
    ("capability", "policy"),
    [((7, 5), "float32"), ((8, 0), "mixed_bfloat16"), ((9, 0), "mixed_bfloat16"), (None, "float32")],
)
def test_gpus_decide_by_their_compute_capability(capability, policy):
    assert of_gpu(capability)[0] == policy


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_the_precision_of_a_model_is_that_of_its_products(policy):
    model = RecurrentLanguageModel(5, units=4, dtype=policy)
    model(np.ones((1, 2), "int32"))
    assert precision_of(model) == policy
    assert precision_of(keras.Sequential([keras.layers.Dense(1)])) == "float32"


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_training_records_its_precision_and_goes_on_in_it_on_another_kind_of_machine(on_cpu_with, tmp_path, policy):
    tokens = np.tile(np.array([1, 2, 3, 4], "int32"), 40)
    settings = TrainingSettings(batch=2, chunk=5, steps=4, evaluate_every=2, warmup=1)

    def train(dtype, resume):
        keras.utils.set_random_seed(0)
        model = RecurrentLanguageModel(5, units=4, dtype=dtype)

        def streams(step):
            return contiguous_streams(tokens, 2, 5, start=step, epochs=None, seed=0)

        return fit(model, streams, evaluation_stream(tokens, 2, 5), settings, tmp_path, resume=resume, verbose=0)

    before = train(policy, resume=False)
    other = HAS_BFLOAT16 if policy == "float32" else frozenset()
    on_cpu_with(other)
    assert training_precision() != policy  # what a new run would take there
    kept, _ = explained_precision("auto", tmp_path / "checkpoint.npz")
    assert kept == policy
    assert train(kept, resume=True) == before  # its identity fits
