"""Weights in a second file: read where both are, refused where the second is missing, another's or outside."""

import hashlib
import json
import os
import shutil

import numpy as np
import onnx
import pytest
from numpy.testing import assert_array_equal
from onnx import TensorProto, helper

from tfseq.cli import main
from tfseq.errors import ArtefactError
from tfseq.runtime import Manifest, TensorSpec, load
from tfseq.runtime.external_data import ExternalData, check_locations

ZEROS = np.zeros((1, 4), np.float32)
HASH = hashlib.sha256(b"").hexdigest()


@pytest.fixture
def data(outsourced):
    return outsourced.with_name("outsourced.onnx.data")


def test_the_weights_are_read_from_beside_the_file(outsourced, data, monkeypatch):
    assert data.read_bytes() == np.arange(4, dtype="float32").tobytes()
    assert_array_equal(load(outsourced).predict(ZEROS), [[0, 1, 2, 3]])
    monkeypatch.chdir(outsourced.parent)
    assert_array_equal(load("outsourced.onnx").predict(ZEROS), [[0, 1, 2, 3]])


def test_the_file_may_be_renamed_and_moved_with_its_weights(outsourced, data, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    shutil.move(data, tmp_path / "elsewhere")
    moved = shutil.move(outsourced, tmp_path / "elsewhere" / "adder.onnx")
    assert_array_equal(load(moved).predict(ZEROS), [[0, 1, 2, 3]])


def test_a_cache_of_links_to_files_elsewhere_is_read(outsourced, data, tmp_path):
    (tmp_path / "snapshot").mkdir()
    for path in (outsourced, data):
        (tmp_path / "snapshot" / path.name).symlink_to(f"../{path.name}")  # as the hub of Hugging Face keeps them
    assert_array_equal(load(tmp_path / "snapshot" / "outsourced.onnx").predict(ZEROS), [[0, 1, 2, 3]])
    check_locations(tmp_path / "snapshot" / "outsourced.onnx")


def test_the_manifest_says_what_lies_beside(outsourced, data):
    content = data.read_bytes()
    expected = ExternalData("outsourced.onnx.data", 16, hashlib.sha256(content).hexdigest())
    assert load(outsourced).manifest.external_data == Manifest.from_file(outsourced).external_data == expected
    assert ExternalData.of(data) == expected


@pytest.mark.parametrize("kind", ["nothing", "folder", "dangling link"])
def test_a_file_without_its_weights_says_what_is_missing_and_where(outsourced, data, tmp_path, kind):
    data.unlink()
    if kind == "folder":
        data.mkdir()
    elif kind == "dangling link":
        data.symlink_to("nowhere")
    message = rf"outsourced\.onnx can't be used: .* in outsourced\.onnx\.data, .* expected {data}\. Copy both files"
    with pytest.raises(ArtefactError, match=message):
        load(outsourced)
    with pytest.raises(ArtefactError, match="is a folder" if kind == "folder" else "No such file"):
        load(data)


@pytest.mark.parametrize("size", [0, 15, 17, 4096])
def test_weights_of_another_size_are_refused(outsourced, data, size):
    data.write_bytes(bytes(size))
    with pytest.raises(ArtefactError, match=rf"outsourced\.onnx\.data, which has {size:,} bytes in place of 16"):
        load(outsourced)


def test_weights_of_another_model_are_refused_by_their_content(outsourced, data, outsource, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    other = outsource(tmp_path / "other" / "outsourced.onnx", [5, 6, 7, 8])
    shutil.copy(f"{other}.data", data)
    with pytest.raises(ArtefactError, match=r"outsourced\.onnx\.data, whose content is not what was exported"):
        Manifest.from_file(outsourced).external_data.check_content(outsourced)
    with pytest.raises(SystemExit):
        main(["inspect", str(outsourced)])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"tfseq: {outsourced} can't be used: its weights are in outsourced.onnx.data, whose content")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads every file")
def test_weights_that_may_not_be_read_are_named(outsourced, data):
    data.chmod(0)
    with pytest.raises(ArtefactError, match=r"outsourced\.onnx\.data, which can't be read: Permission denied"):
        load(outsourced)


def test_inspect_shows_and_counts_both_files(outsourced, data, capsys):
    main(["inspect", str(outsourced)])
    rows = {line[:12].strip() or line.split()[0]: line[12:] for line in capsys.readouterr().out.splitlines()}
    first = outsourced.stat().st_size
    assert rows["size"] == f"{(first + 16) / 1e6:.2f} MB, {first / 1e6:.2f} of them without outsourced.onnx.data"
    assert rows["weights"].split() == ["file:", "outsourced.onnx.data"]
    assert rows["sha256:"].split() == ["sha256:", hashlib.sha256(data.read_bytes()).hexdigest()]


def test_a_manifest_is_read_without_the_weights_and_without_the_graph(outsourced, data):
    data.unlink()
    assert Manifest.from_file(outsourced).name == "adder"


@pytest.mark.parametrize(
    "name",
    ["../x.data", "..", ".", "", "/etc/passwd", "a/b", "a\\b", "..\\x", "C:\\x", "C:x", "\\\\host\\x", "x\0", 7, None],
)
def test_a_manifest_that_names_a_file_elsewhere_is_refused(outsourced, name):
    change_manifest(outsourced, file=name)
    with pytest.raises(ArtefactError, match=r"outsourced\.onnx can't be used: .*expected a file's name"):
        load(outsourced)


@pytest.mark.parametrize(
    ("field", "value"),
    [*(("bytes", value) for value in (-1, 1.5, "16", True)), *(("sha256", value) for value in ("x", 7, "A" * 64))],
)
def test_a_description_that_is_damaged_is_refused(outsourced, field, value):
    change_manifest(outsourced, **{field: value})
    with pytest.raises(ArtefactError, match=r"can't be used: The manifest gives outsourced\.onnx\.data"):
        load(outsourced)


@pytest.mark.parametrize("value", ["x.data", [], {"file": "x", "bytes": 1}, 3])
def test_a_description_of_another_form_is_refused(value):
    with pytest.raises(ArtefactError, match="expected file, bytes, sha256"):
        ExternalData.from_json(value)


@pytest.mark.parametrize("place", ["initializer", "constant", "branch"])
@pytest.mark.parametrize("location", ["../secret", "SECRET", "sub/../../secret", "..", "LINK"])
def test_weights_from_outside_the_folder_are_never_read(tmp_path, place, location):
    (tmp_path / "secret").write_bytes(np.arange(4, dtype="float32").tobytes())
    (tmp_path / "model" / "sub").mkdir(parents=True)
    (tmp_path / "model" / "link").symlink_to(tmp_path / "secret")
    location = {"SECRET": str(tmp_path / "secret"), "LINK": "link"}.get(location, location)
    path = reads_from(tmp_path / "model" / "model.onnx", location, place)
    with pytest.raises(ArtefactError, match=r"it takes weights from outside its folder|it is a symbolic link"):
        load(path)
    with pytest.raises(ArtefactError, match="it takes weights from outside its folder"):
        check_locations(path)  # for versions of ONNX Runtime that do not look


@pytest.mark.parametrize("place", ["initializer", "constant", "branch"])
def test_of_files_that_the_manifest_does_not_name_the_missing_one_is_named(tmp_path, place):
    path = reads_from(tmp_path / "model.onnx", "w.data", place)
    with pytest.raises(ArtefactError, match=rf"not beside it: expected {tmp_path}/w\.data\. Copy both"):
        load(path)
    (tmp_path / "w.data").write_bytes(bytes(15))
    with pytest.raises(ArtefactError, match="second file, which is cut off, or another model's"):
        load(path)


def change_manifest(path, **changes):
    model = onnx.load(path, load_external_data=False)
    document = Manifest.from_file(path).to_json()
    document["external_data"] |= changes
    helper.set_model_props(model, {"tfseq": json.dumps(document)})
    path.write_bytes(model.SerializeToString())


def reads_from(path, location, place):
    """A file whose weights are at a location; as initializer, in a node, or in a branch of one."""
    w = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, "offset": "0", "length": "16"}.items():
        w.external_data.add(key=key, value=value)
    specs = [TensorSpec(name, "float32", (4,)) for name in "xy"]
    x, y = (helper.make_tensor_value_info(spec.name, TensorProto.FLOAT, spec.shape) for spec in specs)
    nodes, weights = [helper.make_node("Add", ["x", "w"], ["y"])], [w]
    if place != "initializer":
        constant = helper.make_node("Constant", [], ["w"])
        constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(w)
        nodes, weights = [constant, *nodes], []
    if place == "branch":
        branch = helper.make_graph(nodes, "branch", [], [y])
        truth = helper.make_tensor("truth", TensorProto.BOOL, [], [True])
        nodes, weights = [helper.make_node("If", ["truth"], ["y"], then_branch=branch, else_branch=branch)], [truth]
    model = helper.make_model(
        helper.make_graph(nodes, "reader", [x], [y], weights),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    manifest = Manifest("reader", "predict", (specs[0],), (specs[1],), {"Add": 1}, 18)
    helper.set_model_props(model, manifest.to_metadata())
    path.write_bytes(model.SerializeToString())
    return path
