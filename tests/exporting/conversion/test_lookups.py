"""Lookups in vocabularies, categories and bins: exported layers give what dictionaries and NumPy give."""

import dataclasses
import itertools

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

import tfseq
from tfseq.errors import ExportError
from tfseq.exporting.conversion.lookups import ML, integers
from tfseq.runtime import load

WORDS = ["cat", "Cat", "été", "", "two words", "東京", "🙂", "-1", " x"]
OTHERS = ["dog", "[UNK]", "CAT", "e\u0301te\u0301"]


def exported(path, layer, shape, dtype, **options):
    model = keras.Sequential([keras.Input(shape, dtype=dtype, name="x"), layer])
    tfseq.export(model, path, **options)
    return load(path)


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(st.integers(-(2**63), 2**63 - 1) | st.integers(-20, 20), st.integers(0, 99), max_size=40), st.data()
)
def test_integers_are_looked_up_as_in_a_dictionary(table, data):
    near = [key + step for key in table for step in (-1, 0, 1) if -(2**63) <= key + step < 2**63]
    x = data.draw(st.lists(st.sampled_from([0, -(2**63), 2**63 - 1, *near]), min_size=1))
    keys, values = np.array([*table], "int64"), np.array([*table.values()], "int64")
    found = integers(np.array(x, "int64"), keys, values, -7)
    assert np.asarray(found).tolist() == [table.get(key, -7) for key in x]


@dataclasses.dataclass
class Drawn:
    """A lookup layer and inputs for it, drawn at random, with what it gives by the layer's description."""

    layer: keras.Layer
    x: np.ndarray
    expected: np.ndarray


def drawn(seed):
    random = np.random.default_rng(seed)
    strings, mode = bool(seed % 2), ("int", "one_hot", "multi_hot", "count", "tf_idf")[seed // 2 % 5]
    known = WORDS if strings else random.integers(-(2**40) if seed % 3 else -9, 2**40 if seed % 3 else 9, 30)
    vocabulary = list(dict.fromkeys(random.choice(np.array(known), 7).tolist()))
    mask = vocabulary.pop() if random.random() < 0.5 else None
    several = 1 if strings else int(random.integers(1, 4))
    other = OTHERS if strings else random.integers(-9, 99, 5).tolist()
    shape = (4, *random.integers(2, 4, random.integers(1, 3)))
    x = np.array(random.choice(np.array([*vocabulary, *([] if mask is None else [mask]), *other]), shape))
    kind = layers.StringLookup if strings else layers.IntegerLookup
    weights = random.random(len(vocabulary)).tolist()
    options = {"idf_weights": weights} if mode == "tf_idf" else {}
    layer = kind(vocabulary=vocabulary, mask_token=mask, num_oov_indices=several, output_mode=mode, **options)
    first = int(mask is not None and mode == "int") + several  # the index of the first of the vocabulary

    def index(value):
        if value == mask:
            return 0 if mode == "int" else None
        if value in vocabulary:
            return first + vocabulary.index(value)
        return first - several + (0 if several == 1 else value % several)

    ids = [index(value) for value in x.ravel().tolist()]
    if mode == "int":
        return Drawn(layer, x, np.reshape(ids, shape))
    depth = first + len(vocabulary)
    hot = np.reshape([[float(i == id_) for i in range(depth)] for id_ in ids], (*shape, depth))
    if mode == "one_hot":
        return Drawn(layer, x, hot)
    if mode == "multi_hot":  # along the first axis behind the batch
        return Drawn(layer, x, hot.max(1))
    counts = hot.sum(1)
    return Drawn(layer, x, counts * np.array([np.mean(weights)] * first + weights) if mode == "tf_idf" else counts)


@pytest.mark.parametrize("seed", range(10))
def test_vocabularies_of_every_kind(tmp_path, seed):
    case = drawn(seed)
    x = case.x.astype(object) if case.x.dtype.kind == "U" else case.x
    file = exported(tmp_path / "m.onnx", case.layer, x.shape[1:], "string" if x.dtype == object else "int64")
    np.testing.assert_allclose(file.predict(x), case.expected, rtol=1e-6)
    assert ("LabelEncoder" in file.manifest.operators) == (x.dtype == object)


@pytest.mark.parametrize("opset", [13, 24])
def test_strings_are_looked_up_at_every_opset_and_the_file_says_how(tmp_path, opset):
    """The domain of that operator is declared where it is used, and nowhere else."""
    strings, numbers = tmp_path / "strings.onnx", tmp_path / "numbers.onnx"
    file = exported(strings, layers.StringLookup(vocabulary=WORDS[:3]), (None,), "string", opset=opset)
    assert file.predict([["été", "?", "cat"]]).tolist() == [[3, 0, 1]]
    assert any(ML in note for note in file.manifest.notes)
    file = exported(numbers, layers.IntegerLookup(vocabulary=[5, 9]), (None,), "int64", opset=opset)
    assert file.predict([[9, 4, 5]]).tolist() == [[2, 0, 1]]
    assert file.manifest.notes == ()
    declared = [{each.domain for each in onnx.load(path).opset_import} for path in (strings, numbers)]
    assert declared == [{"", ML}, {""}]


def test_ids_become_words_again(tmp_path):
    words = layers.StringLookup(vocabulary=["u", "v"], invert=True, mask_token="_", oov_token="?")
    assert exported(tmp_path / "words.onnx", words, (4,), "int64").predict([[0, 3, 1, 2]]).tolist() == [
        ["_", "v", "?", "u"]
    ]
    numbers = layers.IntegerLookup(vocabulary=[2**40, -3], invert=True)
    assert exported(tmp_path / "numbers.onnx", numbers, (3,), "int64").predict([[1, 0, 2]]).tolist() == [
        [2**40, -1, -3]
    ]


def test_strings_that_the_model_only_hands_on_come_out(tmp_path):
    x = keras.Input((), dtype="string", name="x")
    tfseq.export(keras.Model(x, x), tmp_path / "m.onnx")
    assert load(tmp_path / "m.onnx").predict(["a", "東京", ""]).tolist() == ["a", "東京", ""]


@pytest.mark.parametrize("suffix", [".onnx", ""])
def test_a_vocabulary_in_another_order_is_another_model(tmp_path, suffix):
    def model(*words):
        look_up = layers.StringLookup(vocabulary=list(words), num_oov_indices=0, output_mode="one_hot", name="y")
        return keras.Sequential([keras.Input((1,), dtype="string"), look_up])

    tfseq.export(model("a", "b", "c"), tmp_path / f"m{suffix}")
    assert tfseq.verify(tmp_path / f"m{suffix}", model("a", "b", "c")).passed
    assert not tfseq.verify(tmp_path / f"m{suffix}", model("a", "c", "b")).passed


def test_other_strings_are_another_output(tmp_path):
    def model(*words):
        look_up = layers.StringLookup(vocabulary=list(words), invert=True, name="y")
        return keras.Sequential([keras.Input((3,), dtype="int64"), look_up])

    tfseq.export(model("a", "b"), tmp_path / "m.onnx")
    assert not tfseq.verify(tmp_path / "m.onnx", model("a", "B")).passed


def test_what_is_spread_by_a_hash_is_refused(tmp_path):
    for layer in (
        layers.StringLookup(vocabulary=["a"], num_oov_indices=2, name="colours"),
        layers.IntegerLookup(vocabulary=[1], num_oov_indices=2, oov_method="farmhash", salt=1, name="colours"),
    ):
        strings = isinstance(layer, layers.StringLookup)
        with pytest.raises(ExportError, match=r"colours .*over 2 indices by a hash"):
            exported(tmp_path / "m.onnx", layer, (2,), "string" if strings else "int64")


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
def test_categories_and_bins(tmp_path, mode):
    """Fractions are cut off; what is no category is left out, numbers below 0 too, where Keras takes them."""
    random = np.random.default_rng(len(mode))
    path = tmp_path / "m.onnx"
    for shape, dtype in itertools.product([(3,), (2, 3)], ["int32", "float32"]):
        rank_2 = len(shape) == 1
        low = 0 if dtype == "int32" and rank_2 and mode != "one_hot" else -3  # TensorFlow counts nothing below 0
        x = random.uniform(low, 7, (5, *shape)).astype(dtype)
        hot = np.trunc(x)[..., None] == np.arange(4)
        expected = {"one_hot": hot, "multi_hot": hot.any(1), "count": hot.sum(1)}[mode]
        encoded = exported(path, layers.CategoryEncoding(num_tokens=4, output_mode=mode), shape, dtype).predict(x)
        np.testing.assert_array_equal(encoded, expected, err_msg=f"{shape} {dtype}")
        boundaries = [-1.5, 0.0, 2.0]
        hot = np.digitize(x, boundaries)[..., None] == np.arange(4)
        expected = {"one_hot": hot, "multi_hot": hot.any(1), "count": hot.sum(1)}[mode]
        bins = exported(path, layers.Discretization(bin_boundaries=boundaries, output_mode=mode), shape, dtype).predict(
            x
        )
        np.testing.assert_array_equal(bins, expected, err_msg=f"{shape} {dtype}")


def test_one_hot_vectors_of_a_free_length_have_no_shape_and_are_refused(tmp_path):
    with pytest.raises(ExportError, match=r"category_encoding.*have an axis less where an input has a single step"):
        exported(tmp_path / "m.onnx", layers.CategoryEncoding(num_tokens=4, output_mode="one_hot"), (None,), "int32")


class Own(layers.Layer):
    """A lookup in a table of the layer's own, of any types."""

    def __init__(self, keys, values, default):
        super().__init__()
        self.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), default)

    def call(self, x):
        return self.table.lookup(x)


def test_tables_of_own_layers(tmp_path):
    numbers, words = np.array([3, 2**40, -9]), np.array(["cat", "", "東京"], object)
    for keys, values, default in itertools.product([numbers, words], [numbers, words, np.float32([0.5, 2, 3])], [1]):
        other = "?" if values.dtype == object else values.dtype.type(default)
        layer, x = Own(keys, values, other), keys[[2, 0, 1, 0]]
        x[3] = "dog" if keys is words else 4
        inputs = keras.Input((4,), dtype="string" if keys is words else "int64")
        tfseq.export(keras.Model(inputs, layer(inputs)), tmp_path / "m.onnx")
        assert load(tmp_path / "m.onnx").predict(x[None]).tolist() == [[*values[[2, 0, 1]].tolist(), other]]
