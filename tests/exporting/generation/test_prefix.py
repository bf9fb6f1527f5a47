"""Files of encoder-decoders that read prompts beside their sources: verified, and what Keras generates."""

import keras
import numpy as np
import pytest

import tfseq
from tfseq.decoding import generate
from tfseq.errors import ExportError
from tfseq.exporting import export, verify
from tfseq.exporting.generation.generation_cases import generation_cases, sample_cases
from tfseq.exporting.generation.token_interface import TokenIdInterface
from tfseq.exporting.proving.generation_parity import check_generation
from tfseq.models import AttentionSeq2Seq, RecurrentLanguageModel, Transformer
from tfseq.runtime import CharacterTokenizer, load

LETTERS = CharacterTokenizer(["<unk>", "<start>", "<end>", *"abcdefgh"])
SOURCE = np.array([[4, 3, 7, 5, 9], [6, 4, 0, 0, 0], [3, 0, 0, 0, 0]], "int32")
PROMPT = {
    "prompt": np.array([[4, 3, 7], [6, 4, 8], [9, 9, 9]], "int32"),
    "prompt_length": np.array([3, 1, 0], "int32"),
}
STRATEGIES = {
    "greedy": tfseq.Greedy(repetition_penalty=1.2, forbidden=(7,)),
    "sample": tfseq.Sample(temperature=0.8, top_k=6, top_p=0.9, seed=3),
    "beam": tfseq.Beam(width=3, length_penalty=0.6),
}


@pytest.fixture(scope="module")
def models():
    keras.utils.set_random_seed(0)
    vocabulary = LETTERS.vocabulary_size
    made = {
        "gru attention": AttentionSeq2Seq(vocabulary, units=8, cell="gru"),
        "transformer": Transformer(
            vocabulary, units=16, heads=2, hidden=24, depth=1, dropout=0.0, positions="learned", max_positions=48
        ),
    }
    random = np.random.default_rng(0)
    for model in made.values():
        model({"source": SOURCE, "target": SOURCE})
        for weight in model.weights:  # so that the sources matter, and sequences end here and there
            weight.assign(weight + random.normal(size=weight.shape, scale=0.4))
    return made


def settings(model, strategy, max_length=12):
    named = {name: np.asarray(strategy.settings[name], dtype) for name, dtype in strategy.dtypes(model).items()}
    return {"max_length": np.asarray(max_length, "int32"), **named}


@pytest.mark.parametrize(
    ("kind", "name"),
    [("gru attention", "beam"), ("gru attention", "greedy"), ("transformer", "sample"), ("transformer", "beam")],
)
def test_a_file_goes_on_from_prompts(models, kind, name, tmp_path):
    model, strategy, attention = models[kind], STRATEGIES[name], name != "sample"
    path = tmp_path / "model.onnx"
    manifest = export(model, path, decode=strategy, prefix=True, attention=attention)
    assert [str(spec) for spec in manifest.inputs[:4]] == [
        *("source int32 (batch, source_time)", "prompt int32 (batch, time)", "prompt_length int32 (batch)"),
        "max_length int32 ()",
    ]
    checks = {check["name"]: check for check in manifest.parity["checks"]}
    assert checks.keys() == {"logits", "tokens", "scores", *(["attention"] if attention else [])}
    assert checks["tokens"]["identical"] + checks["tokens"]["ties"] == checks["tokens"]["sequences"] == 224
    got = load(path).run({"source": SOURCE, **PROMPT, **settings(model, strategy)})
    expected = generate(model, **PROMPT, source=SOURCE, decode=strategy, max_length=12, return_attention=True)
    np.testing.assert_array_equal(got["tokens"], expected.tokens)
    np.testing.assert_array_equal(got["lengths"], expected.lengths)
    if attention:
        np.testing.assert_allclose(got["attention"], expected.attention, atol=1e-5)
    without = generate(model, source=SOURCE, decode=strategy, max_length=12).tokens
    assert np.asarray(without)[:2].tolist() != got["tokens"][:2].tolist()
    got = load(path).run({"source": SOURCE, "prompt": [[0]] * 3, "prompt_length": [0] * 3, **settings(model, strategy)})
    np.testing.assert_array_equal(got["tokens"], without)


def test_it_can_be_verified_again(models, tmp_path):
    model = models["gru attention"]
    for name in ("model.onnx", "saved"):
        export(model, tmp_path / name, decode=tfseq.Greedy(), prefix=True, verify=False)
        samples = [{"source": SOURCE, **PROMPT}, {"source": SOURCE}]
        report = verify(tmp_path / name, model, samples)
        assert report.passed
        assert next(check for check in report.checks if check.name == "tokens").sequences == 230


def test_text_is_read_and_written_as_code_points(models, tmp_path):
    model = models["gru attention"]
    manifest = export(model, tmp_path / "model.onnx", decode=tfseq.Greedy(), tokenizer=LETTERS, prefix=True)
    assert manifest.parity["passed"]
    assert manifest.tokenizer["kind"] == "code_points"
    texts, prompts = ["abcdg", "da", "a"], ["bae", "d", ""]
    got = load(tmp_path / "model.onnx").generate(texts, 9, prompt=prompts, details=True)
    for text, prompt, found in zip(texts, prompts, got):
        ids = [*LETTERS.encode(prompt)] if prompt else []
        expected = generate(model, ids, source=[LETTERS.encode(text)], max_length=9)
        tokens = np.asarray(expected.tokens)[0, : expected.lengths[0]]
        characters = [LETTERS.symbols[token] for token in tokens]
        assert found.text == "".join(c if len(c) == 1 else "\ufffd" for c in characters)
        assert found.score == pytest.approx(float(expected.scores[0]), abs=1e-4)


def test_texts_and_token_ids_are_prompts(models, tmp_path):
    options = {"decode": tfseq.Greedy(), "tokenizer": LETTERS, "code_points": False, "verify": False}
    export(models["transformer"], tmp_path / "model.onnx", prefix=True, **options)
    model = load(tmp_path / "model.onnx")
    for prompts in (["ab", "c"], [[3, 4], [5]], [np.array([3, 4]), "c"]):
        got = model.generate(["abc", "de"], 6, prompt=prompts)
        alone = [model.generate(text, 6, prompt=prompt) for text, prompt in zip(["abc", "de"], ["ab", [5]])]
        assert got == alone
    assert model.generate(["abc", "de"], 6, prompt="ab") == model.generate(["abc", "de"], 6, prompt=[[3, 4]] * 2)
    assert model.generate(["abc", "de"], 6, prompt="") == model.generate(["abc", "de"], 6)


def test_any_step_file_of_an_encoder_decoder_streams_behind_a_prompt(models, tmp_path):
    strategy = tfseq.Sample(seed=3, repetition_penalty=1.2, min_length=4)
    for kind, model in models.items():
        path = tmp_path / f"{kind}.onnx"
        export(model, path, decode=strategy, tokenizer=LETTERS, streaming=True, verify=False)
        for prompt in ("", "bac", [5, 5]):
            stream = load(path).stream_text("abcc", max_length=10, prompt=prompt)
            text = "".join(stream)
            ids = LETTERS.encode(prompt) if prompt and isinstance(prompt, str) else list(prompt)
            expected = generate(model, ids, source=[LETTERS.encode("abcc")], decode=strategy, max_length=10)
            assert stream.tokens == np.asarray(expected.tokens)[0].tolist()
            assert text == LETTERS.decode(stream.tokens)
            assert stream.score == pytest.approx(float(expected.scores[0]), abs=1e-4)


def test_cases_have_prompts_of_all_kinds_beside_the_sources_they_always_had(models):
    model = models["transformer"]
    cases = list(generation_cases(model, STRATEGIES["sample"], prefix=True))
    lengths = [case.inputs["prompt_length"] for case in cases]
    assert any((row == 0).all() for row in lengths)
    assert any(len(set(row.tolist())) > 3 and (row == 0).any() for row in lengths)
    assert any(len(row) > 1 and row.min() == row.max() > 0 for row in lengths)
    assert any(row.max() > 0 for row in lengths[:3])  # of the cases that logits are compared on
    for case, row in zip(cases, lengths):
        assert 1 + row.max() + case.max_length <= model.max_positions
    for case, without in zip(cases, generation_cases(model, STRATEGIES["sample"])):
        np.testing.assert_array_equal(case.inputs["source"], without.inputs["source"])
        assert case.chosen == without.chosen
        assert without.inputs.keys() == {"source"}


def test_samples_may_have_prompts_or_none(models):
    model = models["transformer"]
    cases = sample_cases(model, tfseq.Greedy(), [{"source": SOURCE, **PROMPT}, SOURCE], prefix=True)
    begun = [case.begun_of(model, row).tolist() for case in cases for row in range(case.rows)]
    assert begun == [[1, 4, 3, 7], [1, 6], [1], [1], [1], [1]]


def test_a_file_that_leaves_out_the_prompt_is_found(models):
    model = models["gru attention"]

    def run(feeds, **given):
        settings = {name: feeds[name].item() for name in ("min_length", "length_penalty")}
        result = generate(
            model,
            **given,
            source=feeds["source"],
            decode=tfseq.Beam(2),
            max_length=int(feeds["max_length"]),
            **settings,
        )
        return {name: np.asarray(value) for name, value in result._asdict().items() if value is not None}

    def right(feeds):
        return run(feeds, prompt=feeds["prompt"], prompt_length=feeds["prompt_length"])

    for file, passes in ((right, True), (run, False)):
        tokens, _ = check_generation(file, model, tfseq.Beam(2), "file", 1e-4, TokenIdInterface(), prefix=True)
        assert tokens.passed == passes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "it needs decode"),
        (
            {"decode": tfseq.Greedy(), "streaming": True},
            "reads what its caller feeds it, prompts too; leave prefix out",
        ),
    ],
)
def test_what_has_no_prompt_of_its_own_is_refused(models, options, message, tmp_path):
    with pytest.raises(ExportError, match=message):
        export(models["gru attention"], tmp_path / "model.onnx", prefix=True, **options)


def test_a_language_model_reads_prompts_anyway(tmp_path):
    model = RecurrentLanguageModel(5, 4)
    model.build()
    with pytest.raises(ExportError, match="is a language model, whose files read prompts; leave prefix out"):
        export(model, tmp_path / "model.onnx", decode=tfseq.Greedy(), prefix=True)
