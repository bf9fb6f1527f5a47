"""Hostile files saved by Keras: what they would unpack to or build is refused before it is done."""

import json
import re
import time
import zipfile

import numpy as np
import pytest

keras = pytest.importorskip("keras")
h5py = pytest.importorskip("h5py")

from tfseq.errors import ExportError
from tfseq.keras_files import load_keras_model
from tfseq.models import RecurrentLanguageModel


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "model.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dense(2)]).save(path)
    return path


def rewritten(path, **changed):
    """The file with some members written anew; content is bytes, or a function of the old ones."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content |= {name: new(content.get(name)) if callable(new) else new for name, new in changed.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, part in content.items():
            archive.writestr(name, part)
    return path


def with_config(path, change):
    def new(old):
        config = json.loads(old)
        change(config["config"]["layers"])
        return json.dumps(config)

    return rewritten(path, **{"config.json": new})


def refused(path, message, seconds=5):
    start = time.process_time()
    with pytest.raises(ExportError, match=message) as error:
        load_keras_model(path)
    assert "\n" not in str(error.value)
    assert time.process_time() - start < seconds


def test_a_file_as_keras_writes_it_and_one_that_is_packed_are_loaded(path):
    x = np.ones((2, 3), "float32")
    want = load_keras_model(path)(x)
    np.testing.assert_array_equal(load_keras_model(rewritten(path))(x), want)


@pytest.mark.parametrize("member", ["model.weights.h5", "config.json", "metadata.json", "assets/words.txt", "other"])
def test_an_archive_that_unpacks_to_a_thousand_times_its_size_is_refused(member, path):
    refused(
        rewritten(path, **{member: bytes(300 << 20)}),
        r"parts would take 315 MB, and the file has 1.37 MB; expected 100",
    )


def test_a_configuration_larger_than_any_model_has_is_refused(path):
    noise = np.random.RandomState(0).bytes(6 << 20)
    refused(rewritten(path, **{"config.json": bytes(65 << 20), "noise": noise}), r"config.json would take 68.2 MB")


@pytest.mark.parametrize("seed", range(3))
def test_arrays_that_are_declared_and_not_there_are_refused(seed, path, tmp_path):
    draw = np.random.RandomState(seed)
    sides = tuple(int(10 ** draw.uniform(4.5, 7)) for _ in range(2))
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_group("layers/dense/vars").create_dataset("0", sides, "f4", chunks=(64, 64))
    refused(rewritten(path, **{"model.weights.h5": (tmp_path / "bomb.h5").read_bytes()}), "weights would take .* [GT]B")
    refused(tmp_path / "bomb.h5", r"weights would take .* [GT]B")


@pytest.mark.parametrize("seed", range(8))
def test_layers_that_ask_for_more_weights_than_the_file_holds_are_refused(seed, path):
    draw = np.random.RandomState(seed)
    many = int(10 ** draw.uniform(7.5, 12))
    kind, config, shape = [
        ("Dense", {"units": many}, [None, 3]),
        ("Dense", {"units": 3}, [None, many]),
        ("Embedding", {"input_dim": many, "output_dim": 8}, [None, 5]),
        ("LSTM", {"units": many}, [None, 5, 3]),
        ("Conv1D", {"filters": 8, "kernel_size": many, "padding": "same"}, [None, 5, 3]),
        ("Bidirectional", {}, [None, 5, 3]),
    ][draw.randint(6)]
    if kind == "Bidirectional":
        inner = keras.saving.serialize_keras_object(keras.layers.GRU(2))
        inner["config"]["units"] = many
        config = {"layer": inner}

    def change(layers):
        layers[0]["config"]["batch_shape"] = shape
        layers[1:] = [{"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None}]

    refused(with_config(path, change), r"asks for weights of the shape \([\d, ]+\), and holds 26 values in all")


def test_our_own_models_are_limited_too(tmp_path):
    path = tmp_path / "model.keras"
    model = RecurrentLanguageModel(5, units=4)
    model.build((None, None))
    model.save(path)

    def set_to(name, value):
        return lambda old: re.sub(rf'"{name}": \d+', f'"{name}": {value}', old.decode())

    refused(rewritten(path, **{"config.json": set_to("units", 10**9)}), "asks for weights")
    model.save(path)
    refused(
        rewritten(path, **{"config.json": set_to("depth", 10**9)}), "asks for more than 1,.* layers, and holds 7 arrays"
    )


def test_outputs_that_no_machine_has_room_for_are_refused(path):
    def change(layers):
        config = {"n": 10**9}
        layers[1:] = [
            {"module": "keras.layers", "class_name": "RepeatVector", "config": config, "registered_name": None}
        ]

    refused(with_config(path, change), "layer repeat_vector.* gives 3,000,000,000 values per example")


def test_the_reason_is_named_where_a_file_wants_other_files_or_code(path, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("word")

    def lookup(layers):
        config = {"vocabulary": str(secret)}
        layers[1:] = [
            {"module": "keras.layers", "class_name": "StringLookup", "config": config, "registered_name": None}
        ]

    refused(with_config(path, lookup), "reads its vocabulary from another file of this machine.* --unsafe")
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x + 1)])
    model.save(path)
    refused(path, r"Python code \(a Lambda layer\)")


def test_parts_that_nest_without_end_are_refused(path):
    refused(rewritten(path, **{"config.json": "[" * 200_000}), "can't load|not a model")
