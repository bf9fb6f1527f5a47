from tfseq.runtime import load
from tfseq.runtime.description import describe, describe_parity


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
        "            outputs:  onnx = keras  worst error 1.2e-06 (at most 1e-04), relative 3.0e-05, "
        "12 cases, at batch 3",
        "            tokens:   onnx = keras  100 of 100 sequences identical",
        "provenance  tfseq       0.1.0",
        "            parameters  1,234,567",
        "            data.file   numbers.txt",
    ]


def test_a_generator_shows_its_tokenizer_and_its_defaults(counter):
    lines = describe(load(counter).manifest).splitlines()
    assert "task        generate: a prompt in, its continuation out" in lines
    assert "tokenizer   characters, 11 symbols" in lines
    assert "decoding    sample, temperature 0.0, top_k 0, seed 0" in lines
    assert "parity      not verified" in lines


def test_a_failed_check_is_not_to_be_overlooked():
    check = {"name": "tokens", "of": "onnx", "against": "keras", "sequences": 100, "identical": 99}
    text = describe_parity({"passed": False, "checks": [check]})
    assert text.startswith("parity      FAILED\n")
    assert "99 of 100 sequences identical" in text
