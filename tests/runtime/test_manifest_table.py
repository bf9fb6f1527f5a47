"""The table of a manifest: its sections, and what `print` and notebooks show."""

import dataclasses
import json
from types import SimpleNamespace

from tfseq.runtime import Manifest, load
from tfseq.runtime.manifest import StateSpec
from tfseq.runtime.manifest_table import describe, describe_parity


def test_an_artefact_is_described_as_an_aligned_table(shifter):
    assert describe(load(shifter).manifest, 5_240_000).splitlines() == [
        "name        shifter",
        "task        predict: arrays in, arrays out",
        "inputs      x   float32  (batch, 3)",
        "            by  int32    (batch)",
        "outputs     shifted  float32  (batch, 3)",
        "            total    float32  ()",
        "tokenizer   none",
        "decoding    none",
        "operators   4 of opset 18",
        "            Add 1  Cast 1  ReduceSum 1  Unsqueeze 1",
        "size        5.24 MB",
        "parity      passed",
        "            outputs:  onnx = keras  worst error 1.2e-06, relative 3.0e-05 (at most 1e-04), "
        "12 cases, at batch 3",
        "            tokens:   onnx = keras  100 of 100 sequences identical",
        "provenance  tfseq       0.1.0",
        "            parameters  1,234,567",
        "            data.file   numbers.txt",
    ]


def test_a_manifest_is_printed_as_its_table(shifter):
    manifest, shown = load(shifter).manifest, []
    manifest._repr_pretty_(SimpleNamespace(text=shown.append), False)  # as IPython does
    assert [str(manifest)] == shown == [describe(manifest)]
    assert repr(manifest).startswith("Manifest(name='shifter', task='predict', inputs=(TensorSpec(name='x'")


def test_a_generator_shows_its_tokenizer_and_its_defaults(counter):
    lines = describe(load(counter).manifest).splitlines()
    assert "task        generate: a prompt in, its continuation out" in lines
    assert "tokenizer   characters, 11 symbols" in lines
    assert "decoding    sample, temperature 0.0, top_k 0, seed 0" in lines
    assert "parity      not verified" in lines


def test_a_failed_check_is_not_to_be_overlooked():
    compared = {"of": "onnx", "against": "keras"}
    checks = [
        {"name": "tokens", **compared, "sequences": 100, "identical": 98, "ties": 1, "where": "row 3"},
        {"name": "logits", **compared, "worst_absolute": 1e-6, "worst_relative": 1e-6, "tolerance": 1e-4},
        {"name": "values", **compared, "worst_absolute": 3.0, "worst_relative": float("nan"), "tolerance": 1e-4},
    ]
    assert describe_parity({"passed": False, "checks": checks}).splitlines() == [
        "parity      FAILED",
        "            tokens:  onnx = keras  FAILED, 98 of 100 sequences identical, 1 part at a tie, first at row 3",
        "            logits:  onnx = keras  worst error 1.0e-06, relative 1.0e-06 (at most 1e-04)",
        "            values:  onnx = keras  FAILED, worst error 3.0e+00, relative nan (at most 1e-04)",
    ]


def test_a_quantized_file_shows_sizes_speed_and_accuracy_drop(shifter):
    record = {
        "to": "int8",
        "contrib": False,
        "weights": {"multiplied": 12000, "stored": 345, "kept": 6},
        "bytes": {"before": 8_000_000, "after": 2_100_000},
        "milliseconds": {
            **{"before": 12.34, "after": 5.0, "faster": 2.5, "low": 2.25, "high": 2.75},
            **{"rounds": 9, "of": "batch 1"},
        },
        "scores": [
            {"metric": "cross_entropy", "what": "nats per character", "before": 1.5, "after": 1.504, "loss": 0.004},
            {"metric": "accuracy", "what": "characters right", "before": 0.55, "after": 0.549, "loss": 0.001},
        ],
        "gate": {"metric": "cross_entropy", "tolerance": 0.02},
        "data": "1,000 characters of text",
    }
    manifest = dataclasses.replace(load(shifter).manifest, quantization=record)
    assert Manifest.from_json(json.loads(json.dumps(manifest.to_json()))) == manifest
    lines = describe(manifest).splitlines()
    start = lines.index("quantized   to int8, standard operators")
    assert lines[start + 1 : start + 8] == [
        "            weights:        12,000 multiplied as integers, 345 stored as int8, 6 in float32",
        "            size:           8.00 MB -> 2.10 MB, 3.8 times smaller",
        "            speed:          12.3 ms -> 5 ms, 2.50 times as fast (2.25 to 2.75 in 9 rounds) at batch 1",
        "            cross entropy:  nats per character 1.5 -> 1.504, lost 0.004 (at most 0.02)",
        "            accuracy:       characters right 0.55 -> 0.549",
        "            measured:       on 1,000 characters of text",
        "parity      passed, by the float32 original",
    ]


def test_states_show_what_to_carry_from_chunk_to_chunk(shifter):
    states = (StateSpec("lstm_h", "lstm_h_next", 0), StateSpec("start", "start_next", [0.5, 1.0]))
    lines = describe(dataclasses.replace(load(shifter).manifest, states=states)).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("states"))
    assert lines[start : start + 2] == [
        "states      lstm_h_next  ->  lstm_h  from 0",
        "            start_next   ->  start   from learned values",
    ]
