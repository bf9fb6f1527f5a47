"""KerasHub's speech models: its own features from sound in the graph, and the tokens and texts of its own decoding."""

import json
import shutil
import subprocess
import wave
from pathlib import Path

import numpy as np
import pytest

keras_hub = pytest.importorskip("keras_hub")

import keras

import tfseq
from benchmarks.harness.hub_speech import SECONDS, moonshine, moonshine_answers, sounds, whisper_answers, whisper_parts
from benchmarks.harness.hub_vocabularies import byte_pairs, sentence_pieces
from tfseq.errors import ExportError
from tfseq.hub.log_mel import LogMel

CLIENT = Path(__file__).parents[2] / "clients/js"
RATE = 16000
NEW = 16


@pytest.mark.parametrize("seed", range(3))
def test_features_are_those_of_keras_hub(seed):
    random = np.random.default_rng(seed)
    width = int(random.choice([400, 400, 256, 100]))
    sizes = {"num_mels": int(random.integers(10, 81)), "num_fft_bins": width, "stride": int(random.choice([160, 100]))}
    converter = keras_hub.layers.WhisperAudioConverter(**sizes, max_audio_length=SECONDS)
    features = keras.ops.convert_to_numpy
    longest = SECONDS * RATE
    lengths = [1, 2, width // 2, longest - 1, longest, longest + 777, *random.integers(3, longest, 4)]
    for length in lengths:
        sound = sounds([length], int(length))
        tone = np.sin(np.arange(length) * random.uniform(0, 3)).astype("float32")[None]
        for given in (sound, tone, sound * 1e-5, sound * 100, sound * 0):
            found, expected = features(LogMel(converter)(given)), features(converter(given))
            assert found.shape == expected.shape
            assert np.abs(found - expected).max() < 1e-4


@pytest.fixture(scope="module")
def whisper_tokenizer():
    """Multilingual, with ids that it leaves out, as those of the presets do."""
    vocabulary, merges = byte_pairs(special=())
    first = len(vocabulary)
    named = ("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>", "")
    ids = {token: first + i for i, token in enumerate((*named, "<|notimestamps|>")) if token}
    languages = {token: ids.pop(token) for token in ("<|en|>", "<|de|>")}
    return keras_hub.tokenizers.WhisperTokenizer(dict(vocabulary), merges, ids, languages)


@pytest.fixture(scope="module")
def whisper_file(whisper_tokenizer, tmp_path_factory):
    """A file that reads prompts, the model's parts, and its manifest."""
    times = 11
    size = whisper_tokenizer.no_timestamps_token_id + 1 + times
    backbone, converter = whisper_parts(vocabulary_size=size)
    path = tmp_path_factory.mktemp("whisper") / "whisper.onnx"
    speech = tfseq.hub.whisper(backbone, converter, whisper_tokenizer)
    manifest = tfseq.export(speech, path, decode=tfseq.Greedy(), prefix=True)
    return path, backbone, converter, manifest


LENGTHS = (RATE, 9000, 3000, 20000, 160)


def test_whisper_writes_the_most_likely_tokens(whisper_file, whisper_tokenizer, tmp_path):
    path, backbone, converter, manifest = whisper_file
    file, heard, tokenizer = tfseq.runtime.load(path), sounds(LENGTHS), whisper_tokenizer
    assert manifest.parity["passed"]
    assert manifest.sampling_rate == RATE
    begun = [tokenizer.bos_token_id, tokenizer.language_tokens["<|de|>"], tokenizer.translate_token_id]
    expected = whisper_answers(backbone, converter, heard, begun, NEW)
    assert len(np.unique(expected)) > len(LENGTHS)
    ragged = [row[:length] for row, length in zip(heard, LENGTHS)]
    found = file.generate(ragged, NEW, prompt="<|de|><|translate|>", details=True)
    for row, theirs in zip(found, expected):
        ends = np.flatnonzero(theirs == tokenizer.eos_token_id)
        assert row.tokens.tolist() == theirs[: ends[0] if len(ends) else NEW].tolist()
    alone = file.generate(ragged[1], NEW, prompt="<|de|><|translate|>")
    assert alone == found[1].text
    if shutil.which("node") and (CLIENT / "node_modules").is_dir():
        assert in_node(path, heard, tmp_path, prompt="<|de|><|translate|>") == [row.text for row in found]


def test_settings_are_the_tokens_that_outputs_begin_with(whisper_tokenizer):
    parts = whisper_parts(vocabulary_size=420)

    def begin(**settings):
        model = tfseq.hub.whisper(*parts, whisper_tokenizer, **settings)
        return "".join(whisper_tokenizer.id_to_token(token) for token in model.begin)

    assert begin() == "<|startoftranscript|>"
    assert begin(language="en") == "<|startoftranscript|><|en|><|transcribe|><|notimestamps|>"
    spoken = begin(language="de", task="translate", timestamps=True)
    assert spoken == "<|startoftranscript|><|de|><|translate|>"
    with pytest.raises(ExportError, match=r"no language 'fr'; expected en, de"):
        begin(language="fr")
    with pytest.raises(ExportError, match=r"without a language"):
        begin(task="translate")


def test_times_are_written_and_ids_without_a_token_are_not(whisper_tokenizer):
    size = whisper_tokenizer.no_timestamps_token_id + 12
    model = tfseq.hub.whisper(*whisper_parts(vocabulary_size=size), whisper_tokenizer, timestamps=True)
    text, last = "Two men are outside", whisper_tokenizer.no_timestamps_token_id
    ids = [last + 1, *whisper_tokenizer.tokenize(text), last - 1, last + 11]
    assert model.tokenizer.vocabulary_size == size
    assert model.tokenizer.decode(np.array(ids)) == f"<|0.00|>{text}<|0.20|>"


def test_parts_of_different_presets_are_refused():
    backbone, _ = whisper_parts()
    converter = keras_hub.layers.WhisperAudioConverter(num_mels=20, max_audio_length=2 * SECONDS)
    with pytest.raises(ExportError, match=r"200 frames of 20 mels.*100 of 20: give both of one preset"):
        tfseq.hub.Whisper(backbone, converter, (1,), (2,))


def test_moonshine_writes_the_text_that_keras_hub_writes(tmp_path):
    m = keras_hub.models
    tokenizer = m.MoonshineTokenizer(proto=sentence_pieces(model_type="bpe", byte_fallback=True))
    converter = keras_hub.layers.MoonshineAudioConverter()
    preprocessor = m.MoonshineAudioToTextPreprocessor(converter, tokenizer, decoder_sequence_length=64)
    task = moonshine(preprocessor, vocabulary_size=tokenizer.vocabulary_size())
    path = tmp_path / "moonshine.onnx"
    manifest = tfseq.export(task, path, decode=tfseq.Greedy())
    assert manifest.parity["passed"]
    assert manifest.sampling_rate == RATE
    file, heard = tfseq.runtime.load(path), sounds((8000, 12000, 1600, 895), seed=3)
    begun = 2  # KerasHub's preprocessor puts the start token before itself
    given = {"audio": heard[:, :, None]}
    task.compile(sampler="greedy")
    texts = task.generate(given, max_length=begun + NEW)
    assert len(set(texts)) == len(texts)
    assert file.generate(heard, NEW) == list(texts)
    tokens = moonshine_answers(task, heard, (tokenizer.start_token_id,) * begun, NEW)
    for row, theirs in zip(file.generate(heard, NEW, details=True), tokens):
        ends = np.flatnonzero(theirs == tokenizer.end_token_id)
        assert row.tokens.tolist() == theirs[: ends[0] if len(ends) else NEW].tolist()
    assert isinstance(file.generate(heard[0, :10], NEW), str)  # shorter than a step of its encoder


def in_node(path, heard, folder, **options):
    """The texts that the JavaScript client writes for sounds, given one by one and together."""
    (folder / "sounds").write_bytes(heard.tobytes())
    script = f"""
        import {{ readFileSync }} from "node:fs";
        import {{ load }} from {json.dumps(str(CLIENT / "src/index.js"))};
        const model = await load({json.dumps(str(path))});
        const all = new Float32Array(readFileSync({json.dumps(str(folder / "sounds"))}).buffer);
        const width = {heard.shape[1]};
        const sounds = Array.from({{ length: {len(heard)} }}, (_, i) => all.slice(i * width, (i + 1) * width));
        const options = {json.dumps({"maxLength": NEW, **options})};
        const texts = await model.generate(sounds, options);
        if (model.manifest.sampling_rate !== {RATE}) throw new Error(model.manifest.sampling_rate);
        console.log(JSON.stringify([texts, await model.generate(sounds[1], options)]));
    """
    command = ["node", "--input-type=module", "--eval", script]
    texts, alone = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert alone == texts[1]
    return texts


def test_the_command_line_reads_wav_files(whisper_file, tmp_path, capsys):
    from tfseq.cli import app

    path, sound = tmp_path / "talk.wav", np.round(sounds([5000]) * 5000).astype("<i2")[0]
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, len(sound), "NONE", ""))
        file.writeframes(sound.tobytes())
    app.cli(args=["generate", str(whisper_file[0]), str(path), "--max-length", str(NEW), "--prompt", "<|en|>"])
    expected = tfseq.runtime.load(whisper_file[0]).generate(sound / 2**15, NEW, prompt="<|en|>")
    assert capsys.readouterr().out == f"<|en|>{expected}\n"
