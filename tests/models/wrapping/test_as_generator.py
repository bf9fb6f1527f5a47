"""`as_generator`: models as tutorials build them, decoded as tutorials do it, beside the wrapped generator."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")
from keras import layers, ops

import tfseq
from tfseq.errors import ExportError, InputError
from tfseq.models import as_generator, check_generator

SOURCES, VOCABULARY, UNITS, START, END, LONGEST = 11, 9, 6, 1, 2, 7
SOURCE = np.array([[3, 4, 5, 0, 0], [6, 7, 8, 9, 10], [2, 0, 0, 0, 0], [5, 5, 0, 0, 0]], "int32")


def spread(*models, size=2.0):
    """Weights with enough variance for greedy texts to differ."""
    random, seen = np.random.default_rng(4), set()
    for weight in (weight for model in models for weight in model.weights):
        if id(weight) not in seen:
            seen.add(id(weight))
            weight.assign(random.normal(0, size if len(weight.shape) > 1 else 0.2, weight.shape))


def recurrent(cell="LSTM", activation=None, tokens="time", attention=False, dtype="int32", shared=False):
    """Three models of one set of layers: trained, encoder, decoder."""
    states = 2 if cell == "LSTM" else 1
    kind = getattr(layers, cell)
    source = keras.Input((None,), dtype=dtype, name="source_tokens")
    embed_source = layers.Embedding(SOURCES, 5, mask_zero=True)
    sequence, *handed = kind(UNITS, return_sequences=True, return_state=True)(embed_source(source))
    encoder = keras.Model(source, [sequence, *handed] if attention else handed)

    embed = embed_source if shared else layers.Embedding(VOCABULARY, 5)
    rnn = kind(UNITS, return_sequences=True, return_state=True)
    attend, join, head = layers.Attention(), layers.Concatenate(), layers.Dense(VOCABULARY, activation=activation)

    def decode(target, memory, begin):
        x, *after = rnn(embed(target), initial_state=begin)
        return (head(join([x, attend([x, memory])])) if attention else head(x)), after

    target = keras.Input((None,), dtype=dtype)
    trained = keras.Model([source, target], decode(target, sequence, handed)[0])
    given = [keras.Input((UNITS,)) for _ in range(states)]
    memory = [keras.Input((None, UNITS))] if attention else []
    if tokens == "time":
        one = keras.Input((None,), dtype=dtype)
    elif tokens == "one":
        one = keras.Input((1,), dtype=dtype)
    else:
        one = keras.Input((), dtype=dtype)
    read = layers.Reshape((1,))(one) if tokens == "none" else one
    logits, after = decode(read, memory[0] if attention else None, given)
    decoder = keras.Model([one, *memory, *given], [logits, *after])
    spread(encoder, decoder)
    return trained, encoder, decoder


KINDS = {
    "lstm": {},
    "gru, probabilities": {"cell": "GRU", "activation": "softmax"},
    "lstm, probabilities, one token at a time": {"activation": "softmax", "tokens": "one"},
    "rnn, tokens without a time axis": {"cell": "SimpleRNN", "tokens": "none"},
    "inputs of Keras' default dtype": {"dtype": "float32"},
    "one embedding for both": {"shared": True},
}


def rows(tokens, lengths):
    return [np.asarray(row)[: int(length)].tolist() for row, length in zip(tokens, lengths)]


def run(path, **given):
    """Texts of a file, in token ids."""
    file = tfseq.runtime.load(path)
    names = {spec.name for spec in file.manifest.inputs}
    defaults = {name: value for name, value in file.manifest.decoding.items() if name in names}
    seed = {"seed": 0} if "seed" in names else {}
    outputs = file.predict(**{**defaults, **seed, "max_length": LONGEST, **given})
    return rows(outputs["tokens"], outputs["lengths"])


def greedy(encoder, decoder, row, tokens):
    """As tutorials decode one row: predict a token, feed it back with the states."""
    handed = encoder(row[None][:, : max(int(np.count_nonzero(row)), 1)])
    handed = handed if isinstance(handed, list | tuple) else [handed]
    fixed = handed[: len(decoder.inputs) - len(decoder.outputs)]
    states, token, text = handed[len(fixed) :], START, []
    while len(text) < LONGEST:
        token = ops.convert_to_tensor([token] if tokens == "none" else [[token]])
        output, *states = decoder([token, *fixed, *states])
        token = int(np.argmax(np.asarray(output).ravel()))
        if token == END:
            break
        text.append(token)
    return text


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_and_a_decoder_generate_what_a_loop_by_hand_does(kind, tmp_path):
    trained, encoder, decoder = recurrent(**KINDS[kind])
    model = as_generator(encoder=encoder, decoder=decoder, model=trained, start=START, end=END)
    assert [finding for finding in check_generator(model) if finding.rule != "get_config"] == []
    texts = [greedy(encoder, decoder, row, KINDS[kind].get("tokens")) for row in SOURCE]
    made = tfseq.generate(model, source=SOURCE, max_length=LONGEST)
    assert rows(made.tokens, made.lengths) == texts
    assert len({tuple(text) for text in texts}) > 1
    tfseq.export(model, tmp_path / "model.onnx", decode=tfseq.Sample())
    assert run(tmp_path / "model.onnx", source=SOURCE, temperature=0.0) == texts


def test_the_log_of_probabilities_stands_for_logits():
    _, encoder, decoder = recurrent(activation="softmax")
    logits = keras.Model(decoder.inputs, decoder.outputs)
    logits.layers[-1].activation = keras.activations.linear
    model = as_generator(encoder=encoder, decoder=decoder, start=START, end=END)
    assert not model.probabilities  # the same layers
    decoder.layers[-1].activation = keras.activations.softmax
    probable = as_generator(encoder=encoder, decoder=decoder, start=START, end=END)
    assert probable.probabilities
    state = probable.initial_state(probable.encode(SOURCE), len(SOURCE))
    got, _ = probable.step(ops.convert_to_tensor(SOURCE[:, 0] % VOCABULARY), state, probable.encode(SOURCE))
    decoder.layers[-1].activation = keras.activations.linear
    expected, *_ = decoder([ops.convert_to_tensor(SOURCE[:, :1] % VOCABULARY), *encoder(SOURCE)])
    expected = np.asarray(expected)[:, 0]
    expected = expected - np.log(np.exp(expected).sum(-1, keepdims=True))
    np.testing.assert_allclose(np.asarray(got), expected, atol=1e-4)


def attentive():
    """A Transformer's encoder and decoder, as tutorials build them of layers, without a cache."""
    source, target = keras.Input((None,), dtype="int32", name="source"), keras.Input((None,), dtype="int32")
    x, real = layers.Embedding(SOURCES, 8)(source), ops.expand_dims(source != 0, 1)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 4)(x, x, attention_mask=real)])
    memory = layers.LayerNormalization()(x)
    encoder = keras.Model(source, [memory, real])
    embed, norm = layers.Embedding(VOCABULARY, 8), layers.LayerNormalization()
    attend, cross, head = layers.MultiHeadAttention(2, 4), layers.MultiHeadAttention(2, 4), layers.Dense(VOCABULARY)

    def decode(target, memory, real):
        y = embed(target)
        y = norm(layers.Add()([y, attend(y, y, use_causal_mask=True)]))
        return head(layers.Add()([y, cross(y, memory, attention_mask=real)]))

    given = [keras.Input((None, 8)), keras.Input((1, None), dtype="bool")]
    decoder = keras.Model([target, *given], decode(target, *given))
    trained = keras.Model([source, target], decode(target, memory, real))
    spread(encoder, decoder)
    return trained, encoder, decoder


def test_a_transformer_without_a_cache_reads_all_tokens_at_each_step(tmp_path):
    trained, encoder, decoder = attentive()
    for model in (
        as_generator(encoder=encoder, decoder=decoder, model=trained, start=START, end=END),
        as_generator(model=trained, start=START, end=END),
    ):
        made = tfseq.generate(model, source=SOURCE, max_length=LONGEST)
        for text, source in zip(rows(made.tokens, made.lengths), SOURCE):
            read = [START]
            while len(read) <= LONGEST:
                token = int(np.argmax(trained([source[None], np.array([read])])[0, -1]))
                if token == END:
                    break
                read.append(token)
            assert text == read[1:]
        manifest = tfseq.export(model, tmp_path / "model.onnx", decode=tfseq.Beam(2))
        assert "over all tokens so far" in model.notes[0]
        assert model.notes[0] in manifest.notes


def test_a_mask_that_the_decoder_does_not_get_is_told(tmp_path):
    _, encoder, decoder = attentive()
    memory, _ = encoder.outputs
    given = keras.Input((None, 8))
    everywhere = ops.ones_like(given[:, None, :, 0], dtype="bool")
    blind = keras.Model([decoder.inputs[0], given], decoder([decoder.inputs[0], given, everywhere]))
    model = as_generator(encoder=keras.Model(encoder.inputs, memory), decoder=blind, start=START)
    with pytest.raises(ExportError, match="padded with 0"):
        tfseq.export(model, tmp_path / "model.onnx", decode=tfseq.Greedy())


def language_model(kind):
    time = 12 if kind == "fixed" else None
    tokens = keras.Input((time,), dtype="int32")
    x = layers.Embedding(VOCABULARY, 8)(tokens)
    if kind == "lstm":
        x = layers.LSTM(8, return_sequences=True)(x)
        model = keras.Model(tokens, layers.Dense(VOCABULARY, activation="softmax")(x))
    elif kind == "bidirectional":
        model = keras.Model(
            tokens, layers.Dense(VOCABULARY)(layers.Bidirectional(layers.GRU(4, return_sequences=True))(x))
        )
    else:
        x = layers.Add()([x, layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)])
        model = keras.Model(tokens, [layers.Dense(VOCABULARY)(x), x])
    spread(model, size=1.0)
    return model


@pytest.mark.parametrize("kind", ["lstm", "attention", "fixed"])
def test_a_language_model_continues_prompts_as_a_loop_by_hand_does(kind, tmp_path):
    plain = language_model(kind)
    model = as_generator(language_model=plain, end=END)
    assert check_generator(model) == []
    tfseq.export(model, tmp_path / "model.onnx", decode=tfseq.Greedy())
    prompts = [[3], [4, 5, 6], [7, 8], [1, 3, 5, 7]]
    for prompt in prompts:
        read, text = list(prompt), []
        while len(text) < LONGEST:
            padded = np.pad(read, (0, 12 - len(read))) if kind == "fixed" else np.array(read)
            outputs = plain(padded[None])
            outputs = outputs[0] if isinstance(outputs, list | tuple) else outputs
            token = int(np.argmax(outputs[0, len(read) - 1]))
            if token == END:
                break
            read.append(token)
            text.append(token)
        for max_length in (1, LONGEST):
            made = tfseq.generate(model, [prompt], max_length=max_length)
            assert rows(made.tokens, made.lengths) == [text[:max_length]]
        assert run(tmp_path / "model.onnx", prompt=[prompt], prompt_length=[len(prompt)]) == [text]


def test_a_wrapped_generator_is_saved_and_loaded(tmp_path):
    trained, encoder, decoder = recurrent()
    for model in (
        as_generator(encoder=encoder, decoder=decoder, start=START, end=END),
        as_generator(language_model=language_model("fixed"), end=[END, 3]),
        as_generator(model=trained, start=START, end=END, max_positions=20),
    ):
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        given = {"source": SOURCE} if model.sources else {"prompt": SOURCE % VOCABULARY}
        one, other = (tfseq.generate(m, max_length=5, **given) for m in (model, again))
        np.testing.assert_array_equal(one.tokens, other.tokens)
        assert (again.ends, again.max_positions) == (model.ends, model.max_positions)


def test_it_is_trained_as_any_generator():
    _, encoder, decoder = recurrent(tokens="one")
    model = as_generator(encoder=encoder, decoder=decoder, start=START, end=END)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    target = np.array([[1, 3, 4, 2]] * 4, "int32")
    history = model.fit({"source": SOURCE, "target": target[:, :-1]}, target[:, 1:], epochs=2, verbose=0)
    assert history.history["loss"][1] < history.history["loss"][0]


def swapped():
    trained, encoder, decoder = recurrent()
    return {"encoder": keras.Model(encoder.inputs, encoder.outputs[::-1]), "decoder": decoder, "model": trained}


def mistakes():
    trained, encoder, decoder = recurrent()
    _, with_memory, _ = recurrent(attention=True)
    one = {"start": START, "end": END}
    lm = language_model("attention")
    return {
        "expected an encoder and a decoder": {},
        "Got decoder": {"decoder": decoder, **one},
        "start is None": {"encoder": encoder, "decoder": decoder},
        "start is 1; a language model continues": {"language_model": lm, "start": 1},
        "first at position 0": {**swapped(), **one},
        "The encoder returns 3 tensors": {"encoder": with_memory, "decoder": decoder, **one},
        "encoder is list": {"encoder": [encoder], "decoder": decoder, **one},
        "not made of keras.Input": {"encoder": Subclassed(), "decoder": decoder, **one},
        "returns no states": {"encoder": encoder, "decoder": keras.Model(*one_token()), **one},
        "expected sources and target": {"model": lm, **one},
        "expected tokens": {"language_model": trained},
        "a Generator already": {"language_model": as_generator(language_model=lm)},
    }


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


def one_token():
    """A decoder that takes a token and as much as its encoder returns, and returns no states."""
    inputs = [keras.Input((1,), dtype="int32"), keras.Input((UNITS,)), keras.Input((UNITS,))]
    return inputs, layers.Embedding(VOCABULARY, VOCABULARY)(inputs[0])


@pytest.mark.parametrize("said", mistakes())
def test_a_mistake_is_told(said):
    with pytest.raises(InputError, match=said):
        as_generator(**mistakes()[said])


def test_a_model_that_looks_ahead_is_refused_before_it_is_traced(tmp_path):
    model = as_generator(language_model=language_model("bidirectional"))
    with pytest.raises(ExportError, match="call and step differ, first at position 0"):
        tfseq.export(model, tmp_path / "model.onnx", decode=tfseq.Greedy())
    assert not list(tmp_path.iterdir())


def test_a_functional_model_is_told_how_it_can_generate(tmp_path):
    with pytest.raises(ExportError, match=r"tfseq\.models\.as_generator"):
        tfseq.export(language_model("lstm"), tmp_path / "model.onnx", decode=tfseq.Greedy())
