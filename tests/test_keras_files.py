"""`load_keras_model`: what is no file saved by Keras is said."""

import pytest

from tfseq.errors import ExportError
from tfseq.keras_files import load_keras_model


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (["saved_model.pb"], "is a SavedModel folder, .* expected a model saved by Keras"),
        (["other"], "is a folder"),
        (None, "There is no file"),
    ],
)
def test_folders_are_told_from_files(content, message, tmp_path):
    path = tmp_path / "model"
    for name in content or ():
        path.mkdir(exist_ok=True)
        (path / name).touch()
    with pytest.raises(ExportError, match=message):
        load_keras_model(path)
