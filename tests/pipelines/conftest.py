"""What the tests of pipelines leave out: the proofs of SavedModels, but where a test is about these."""

from pathlib import Path
from unittest import mock

import pytest

import tfseq

WITH_PROOFS = ("test_char_lm", "test_publish")


@pytest.fixture(scope="module", autouse=True)
def quick_saved_models(request):
    """Each pipeline writes a SavedModel beside its file, whose proof takes as long as the file's."""
    if request.module.__name__.endswith(WITH_PROOFS):
        yield
        return
    export = tfseq.export

    def quickly(model, path, **settings):
        return export(model, path, **settings if Path(path).suffix == ".onnx" else settings | {"verify": False})

    with mock.patch.object(tfseq, "export", quickly):
        yield
