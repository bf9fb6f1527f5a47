"""Generators around Keras models of other people's making: encoders with decoders, whole models, language models."""

import keras
import numpy as np
from keras import ops, tree

from tfseq.errors import InputError
from tfseq.layers.loops import scan
from tfseq.models.generator import Generator
from tfseq.models.wrapping.rereading import Rereading

_SMALLEST = float(np.finfo("float32").tiny)


class _Wrapped(Generator):
    """What the wrappers share: attributes as given, and the head's probabilities turned into logits.

    Args:
        start, end, max_positions: as `Generator`'s.
        probabilities: whether the head returns probabilities; None: find out from what it returns.
    """

    def __init__(self, start=None, end=None, max_positions=None, probabilities=None, **kwargs):
        super().__init__(**kwargs)
        self.start, self.end, self.max_positions = start, end, max_positions
        self.probabilities = probabilities

    def logits_from(self, output):
        """Logits of a model's first output; of probabilities the logarithm, whose softmax they are."""
        output = ops.cast(tree.flatten(output)[0], "float32")
        return ops.log(ops.maximum(output, _SMALLEST)) if self.probabilities else output

    def _head(self, model, run):
        """Notes the vocabulary and whether there are probabilities, given `run` on one token of every model."""
        output = np.asarray(ops.convert_to_numpy(ops.cast(tree.flatten(run())[0], "float32")))
        self.vocabulary_size = int(output.shape[-1])
        if self.probabilities is None:
            sums = output.sum(-1)
            self.probabilities = bool(
                self.vocabulary_size > 1 and output.min() >= 0 and np.allclose(sums, 1, atol=1e-3)
            )

    def get_config(self):
        kept = {name: getattr(self, name) for name in ("start", "end", "max_positions", "probabilities")}
        return super().get_config() | kept


@keras.saving.register_keras_serializable(package="tfseq")
class FromLanguageModel(_Wrapped, Rereading):
    """A language model without a cache; see `as_generator`."""

    def __init__(self, model, max_positions=None, **kwargs):
        super().__init__(max_positions=max_positions, **kwargs)
        self.model = model
        inputs = getattr(model, "inputs", None)
        if inputs is not None:
            if len(inputs) != 1 or len(inputs[0].shape) != 2:
                raise InputError(f"The language model takes {shapes_of(inputs)}; expected tokens (batch, time).")
            self.length = inputs[0].shape[1]
        if self.length and not self.max_positions:
            self.max_positions = self.length
        self._head(model, lambda: self._run(ops.ones((1, self.length or 2), "int32")))
        self.notes = (_rereads("the language model"),)

    def call(self, inputs, training=False):
        return self.logits_at_each(inputs, ())

    def logits_of(self, tokens, memory):
        return self.logits_from(self._run(tokens))

    def _run(self, tokens):
        inputs = getattr(self.model, "inputs", None)
        return self.model(tokens if inputs is None else fed(self.model, [tokens]))

    def get_config(self):
        config = super().get_config()
        del config["start"]
        return config | {"model": keras.saving.serialize_keras_object(self.model)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("model")), **config)


class _OfSources(_Wrapped):
    """What reads sources with an encoder: names and dtypes of the sources from its inputs."""

    def _declare(self, inputs, reader):
        alone = len(inputs) == 1
        names = ["source"] if alone else [tensor.name for tensor in inputs]
        self.sources = tuple(
            keras.InputSpec(
                shape=(None, *tensor.shape[1:]), dtype="int32" if _is_read(reader, tensor) else tensor.dtype, name=name
            )
            for name, tensor in zip(names, inputs, strict=True)
        )

    def _in_order(self, inputs):
        """Sources as a list, of one tensor or a dictionary by name."""
        return [inputs[spec.name] for spec in self.sources] if isinstance(inputs, dict) else [inputs]

    def call(self, inputs, training=False):
        sources = [inputs[spec.name] for spec in self.sources]
        return self._teacher_forced(self.read_sources(sources), inputs["target"])

    def encode(self, inputs=None):
        return self.read_sources(self._in_order(inputs))

    def read_sources(self, sources):
        raise NotImplementedError

    def _teacher_forced(self, memory, target):
        raise NotImplementedError

    def ones(self):
        """A source of ones, for one row."""
        return [ops.ones((1, *(n or 2 for n in spec.shape[1:])), spec.dtype) for spec in self.sources]


@keras.saving.register_keras_serializable(package="tfseq")
class FromModel(_OfSources, Rereading):
    """A model of sources and target without a cache, all of which is run at each step; see `as_generator`."""

    def __init__(self, model, **kwargs):
        super().__init__(**kwargs)
        self.model = model
        *sources, target = inputs_of(model, "model")
        if not sources:
            raise InputError("The model takes one input; expected sources and target, or language_model=.")
        self.length = _time_of(target, "target")
        self._declare(sources, model)
        self._head(model, lambda: self._run(self.ones(), ops.ones((1, self.length or 1), "int32")))
        self.notes = (_rereads("the model"),)

    def read_sources(self, sources):
        return tuple(ops.convert_to_tensor(source) for source in sources)

    def _teacher_forced(self, memory, target):
        return self.logits_at_each(target, memory)

    def logits_of(self, tokens, memory):
        return self.logits_from(self._run(list(memory), tokens))

    def _run(self, sources, target):
        return self.model(fed(self.model, [*sources, target]))

    def get_config(self):
        return super().get_config() | {"model": keras.saving.serialize_keras_object(self.model)}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("model")), **config)


class _OfTwo(_OfSources):
    """What reads with an encoder, and writes with a decoder."""

    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder, self.decoder = encoder, decoder
        self._declare(inputs_of(encoder, "encoder"), encoder)
        self.fixed = len(inputs_of(decoder, "decoder")) - len(decoder.outputs)  # inputs that are no states, nor tokens
        given, taken = len(encoder.outputs), len(decoder.inputs) - 1
        if given != taken:
            raise InputError(
                f"The encoder returns {given} {_tensors(given)}, {shapes_of(encoder.outputs)}, and the decoder takes "
                f"{taken} beside the tokens, {shapes_of(decoder.inputs[1:])}; expected as many, in the same order."
            )

    def read_sources(self, sources):
        return tuple(tree.flatten(self.encoder(fed(self.encoder, sources))))

    def get_config(self):
        shared = {id(layer) for layer in self.encoder.layers} & {id(layer) for layer in self.decoder.layers}
        if shared:
            names = ", ".join(sorted(layer.name for layer in self.encoder.layers if id(layer) in shared))
            raise InputError(
                f"Encoder and decoder share {names}, which Keras can't save in one model: save the two models, and "
                "make the generator again with as_generator."
            )
        parts = {"encoder": self.encoder, "decoder": self.decoder}
        return super().get_config() | {name: keras.saving.serialize_keras_object(part) for name, part in parts.items()}

    @classmethod
    def from_config(cls, config):
        parts = {name: keras.saving.deserialize_keras_object(config[name]) for name in ("encoder", "decoder")}
        return cls(**(config | parts))


@keras.saving.register_keras_serializable(package="tfseq")
class FromDecoder(_OfTwo, Rereading):
    """An encoder, and a decoder that has no states and reads all tokens so far at each step; see `as_generator`."""

    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(encoder, decoder, **kwargs)
        self.length = _time_of(decoder.inputs[0], "decoder")
        one = ops.ones((1, self.length or 1), "int32")
        self._head(decoder, lambda: self._run(self.read_sources(self.ones()), one))
        self.notes = (_rereads("the decoder"),)

    def _teacher_forced(self, memory, target):
        return self.logits_at_each(target, memory)

    def logits_of(self, tokens, memory):
        return self.logits_from(self._run(memory, tokens))

    def _run(self, memory, tokens):
        return self.decoder(fed(self.decoder, [tokens, *memory]))


@keras.saving.register_keras_serializable(package="tfseq")
class FromStates(_OfTwo):
    """An encoder, and a decoder that takes one token and its states, and returns new ones; see `as_generator`."""

    def __init__(self, encoder, decoder, **kwargs):
        super().__init__(encoder, decoder, **kwargs)
        if self.fixed < 0:
            raise InputError(
                f"The decoder returns {len(decoder.outputs) - 1} states, {shapes_of(decoder.outputs[1:])}, and takes "
                f"{shapes_of(decoder.inputs)}; expected the tokens and those states."
            )
        for old, new in zip(decoder.inputs[1 + self.fixed :], decoder.outputs[1:], strict=True):
            if tuple(old.shape[1:]) != tuple(new.shape[1:]):
                raise InputError(
                    f"The decoder takes the state {old.name} {tuple(old.shape)} and returns {tuple(new.shape)} in its "
                    "place; expected states of one shape, last among inputs and outputs, in the same order."
                )
        self._head(decoder, lambda: self._run(ops.ones((1,), "int32"), self.read_sources(self.ones())))

    def initial_state(self, memory, batch_size):
        return tuple(memory[self.fixed :])

    def step(self, tokens, state, memory=()):
        logits, *state = self._run(tokens, (*memory[: self.fixed], *state))
        logits = self.logits_from(logits)
        return ops.reshape(logits, (-1, self.vocabulary_size)), tuple(state)

    def _run(self, tokens, others):
        return tree.flatten(self.decoder(fed(self.decoder, [self._token(tokens), *others])))

    def _token(self, tokens):
        """Tokens (batch,), or (batch, time), as the decoder takes them."""
        wanted = self.decoder.inputs[0]
        if len(wanted.shape) == 1:
            return tokens
        tokens = tokens[:, None] if len(tokens.shape) == 1 else tokens
        return ops.one_hot(tokens, wanted.shape[-1]) if len(wanted.shape) == 3 else tokens

    def _teacher_forced(self, memory, target):
        wanted = self.decoder.inputs[0].shape
        if len(wanted) > 1 and wanted[1] is None and len(self.decoder.outputs[0].shape) == 3:
            return self.logits_from(self._run(target, memory)[0])

        def one(state, tokens):
            logits, state = self.step(tokens, state, memory)
            return state, logits

        state = self.initial_state(memory, ops.shape(target)[0])
        return ops.swapaxes(scan(one, state, ops.swapaxes(target, 0, 1), "float32")[1], 0, 1)


def inputs_of(model, what):
    """The inputs of a Functional model, as a flat list."""
    inputs = getattr(model, "inputs", None)
    if not inputs:
        raise InputError(
            f"The {what} is {type(model).__name__}, not made of keras.Input; expected keras.Model(inputs, outputs). Or "
            "write a tfseq.models.Generator: docs/your_own_model.md."
        )
    return inputs


def fed(model, flat):
    """A flat list of tensors as a Functional model takes them, in its structure and dtypes."""
    cast = [ops.cast(x, wanted.dtype) for x, wanted in zip(flat, model.inputs, strict=True)]
    return tree.pack_sequence_as(model.input, cast)


def _is_read(model, tensor):
    """Whether an input is token ids: integers, or what an Embedding reads, whose default dtype is float32."""
    if len(tensor.shape) != 2:
        return False
    embedded = (
        any(read is tensor for node in layer._inbound_nodes for read in node.input_tensors)
        for layer in model.layers
        if isinstance(layer, keras.layers.Embedding)
    )
    return "int" in tensor.dtype or any(embedded)


def _time_of(tensor, what):
    """The number of tokens that a model takes, None for any."""
    if len(tensor.shape) != 2 or tensor.shape[1] == 1:
        raise InputError(
            f"The {what} takes tokens of shape {tuple(tensor.shape)} and returns no states; expected (batch, time) to "
            "read all tokens so far, or new states behind the logits."
        )
    return tensor.shape[1]


def _rereads(what):
    return (
        f"Each token runs {what} over all tokens so far, as it has no states: n tokens cost n passes. A "
        "tfseq.models.Generator with `step` carries states from token to token (docs/your_own_model.md)."
    )


def shapes_of(tensors):
    return ", ".join(f"{tensor.name} {tuple(tensor.shape)}" for tensor in tensors) or "nothing"


def _tensors(count):
    return "tensor" if count == 1 else "tensors"
