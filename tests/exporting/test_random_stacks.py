"""Random stacks over all of Keras' layers and functions: each is exported, equal to the model, or refused by name."""

import re

import keras
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from benchmarks.coverage import INTERNAL
from benchmarks.harness.random_stacks import function_stack, layer_stack, runs
from tfseq.errors import ExportError, ParityError
from tfseq.exporting import export

ALWAYS = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
FEW = ALWAYS | {
    "derandomize": True,
    "phases": [Phase.generate],
}  # no minutes of shrinking
MANY = ALWAYS | {"max_examples": 300, "print_blob": True}


def exported_or_refused(model, path):
    """What an export may end in: a file that the gate has passed, or a sentence that names one of the layers."""
    try:
        assert export(model, path / "model.onnx").parity["passed"]
    except ParityError:
        raise
    except ExportError as error:
        text = str(error)
        layers = [layer for layer in model._flatten_layers() if layer is not model]
        assert any(layer.name in text for layer in layers), text
        assert not re.search(INTERNAL, text), text


def drawn(data, stack):
    keras.utils.set_random_seed(0)
    try:
        model = stack(lambda choices: data.draw(st.sampled_from(list(choices))))
    except (ValueError, TypeError, tf.errors.OpError):
        assume(False)  # Keras' own refusal of these arguments
    assume(runs(model))
    return model


@settings(max_examples=12, **FEW)
@given(st.data())
def test_stacks_of_layers(tmp_path_factory, data):
    exported_or_refused(drawn(data, layer_stack), tmp_path_factory.mktemp("stack"))


@settings(max_examples=15, **FEW)
@given(st.data())
def test_functions_between_layers(tmp_path_factory, data):
    exported_or_refused(drawn(data, function_stack), tmp_path_factory.mktemp("stack"))


@pytest.mark.slow
@settings(**MANY)
@given(st.data())
def test_many_stacks_of_layers(tmp_path_factory, data):
    exported_or_refused(drawn(data, layer_stack), tmp_path_factory.mktemp("stack"))


@pytest.mark.slow
@settings(**MANY)
@given(st.data())
def test_many_functions_between_layers(tmp_path_factory, data):
    exported_or_refused(drawn(data, function_stack), tmp_path_factory.mktemp("stack"))
