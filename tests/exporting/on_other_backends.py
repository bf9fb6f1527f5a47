"""Exports on the backend of KERAS_BACKEND, run as a script: what its classes are is only defined here.

Writes into the folder that is its argument, and prints how each export went as JSON.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np
from keras import ops

import tfseq
from tfseq.decoding import generate
from tfseq.models import RecurrentLanguageModel
from tfseq.runtime.session import Session

BACKEND = keras.backend.backend()
FOLDER = Path(sys.argv[1])
RANDOM = np.random.default_rng(0)

sys.path.insert(0, str(FOLDER))
from own_layers import Shift  # type: ignore[import-not-found]


class Scale(keras.layers.Layer):
    """Not registered; what it needs to be made again Keras writes down by itself."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return self.factor * ops.tanh(x)


def squared_relu(x):
    return ops.square(ops.relu(x))


class TwoInputs(keras.Model):
    """Called with two arrays, of which Keras remembers one."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.dense = keras.layers.Dense(units)

    def get_config(self):
        return {**super().get_config(), "units": self.dense.units}

    def call(self, x, weight):
        return {"weighted": self.dense(x) * weight, "total": ops.sum(weight, axis=1)}


class WithoutConfig(keras.Model):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, x):
        return self.layer(x)


class OtherOnTensorFlow(keras.layers.Layer):
    """A bug that only shows where the model is traced."""

    def call(self, x):
        return x * (1.01 if keras.backend.backend() == "tensorflow" else 1.0)


class InOneFramework(keras.layers.Layer):
    def call(self, x):
        if BACKEND == "torch":
            import torch

            return torch.tanh(x)
        import jax.numpy as jnp

        return jnp.tanh(x)


def classifier():
    tokens = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(11, 4, mask_zero=True)(tokens)
    x = keras.layers.LSTM(5)(x)
    x = Shift()(Scale(1.5)(x))
    x = keras.layers.Dense(6, activation=squared_relu)(x)
    x = keras.layers.Lambda(lambda x: ops.minimum(x, 0.5))(x)
    model = keras.Model(tokens, keras.layers.Dense(3, activation="softmax", name="probabilities")(x))
    model.compile("adam", loss=lambda y, predicted: ops.mean(predicted))  # which no file can hold
    return model


def sequential(*layers):
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), *layers])


def refused(export):
    try:
        export()
    except tfseq.errors.ExportError as error:
        return [type(error).__name__, str(error)]
    return "exported"


def a_classifier():
    model, steps, tokens = classifier(), [], RANDOM.integers(0, 11, (5, 9)).astype("int32")
    path = FOLDER / "classifier.onnx"
    manifest = tfseq.export(model, path, labels=["a", "b", "c"], progress=steps.append)
    got = Session(path).run({"input": tokens})["probabilities"]
    difference = np.abs(got - ops.convert_to_numpy(model(tokens))).max()
    return {"difference": float(difference), "steps": steps, "backend": manifest.provenance["backend"]}


def two_inputs():
    model = TwoInputs(2)
    sample = {"x": RANDOM.normal(size=(4, 3)).astype("float32"), "weight": np.ones((4, 2), "float32")}
    path = FOLDER / "two_inputs.onnx"
    tfseq.export(model, path, samples=[{name: ops.convert_to_tensor(array) for name, array in sample.items()}])
    other = {name: array[:2] + 1 for name, array in sample.items()}
    got = Session(path).run(other)
    expected = {name: ops.convert_to_numpy(x) for name, x in model(**other).items()}
    difference = float(max(np.abs(got[name] - expected[name]).max() for name in expected))
    model.set_weights([weight + 0.2 for weight in model.get_weights()])
    return {
        "difference": difference,
        "changed": tfseq.verify(path, model, samples=sample, random=False).passed,
    }


def a_generator():
    model = RecurrentLanguageModel(7, units=4, cell="gru")
    prompt = RANDOM.integers(0, 7, (3, 2)).astype("int32")
    model(prompt)
    path = FOLDER / "generator.onnx"
    tfseq.export(model, path, decode=tfseq.Sample(temperature=0.7))
    expected = generate(model, prompt, decode=tfseq.Sample(temperature=0.7), max_length=9, seed=5)
    settings = {"max_length": 9, "seed": 5, "top_k": 0, "prompt_length": [2, 2, 2]}
    feeds = {name: np.asarray(value, "int32") for name, value in settings.items()}
    feeds |= {"prompt": prompt, "temperature": np.array(0.7, "float32"), "top_p": np.array(1, "float32")}
    got = Session(path).run(feeds)
    return {"expected": ops.convert_to_numpy(expected.tokens).tolist(), "got": got["tokens"].tolist()}


def without_config():
    model = WithoutConfig(keras.layers.Dense(2))
    model(np.ones((1, 3)))
    return refused(lambda: tfseq.export(model, FOLDER / "refused.onnx"))


if __name__ == "__main__":
    import tfseq.exporting

    imported = "tensorflow" in sys.modules
    found = {
        "tensorflow": imported,
        "classifier": a_classifier(),
        "generator": a_generator(),
        "without_config": without_config(),
        "framework": refused(lambda: tfseq.export(sequential(InOneFramework()), FOLDER / "refused.onnx")),
        "differs": refused(lambda: tfseq.export(sequential(OtherOnTensorFlow()), FOLDER / "refused.onnx")),
        "argument": refused(lambda: tfseq.export(sequential(), FOLDER / "refused.onnx", opset=99)),
    }
    if BACKEND == "torch":  # whose tests are slow; each of these starts a process of its own
        found["two_inputs"] = two_inputs()
    print(json.dumps(found))
