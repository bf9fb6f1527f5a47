"""CTranslate2, OpenNMT's engine for Transformers, with the weights of a `tfseq.models.Transformer`.

    python -m benchmarks.peers.ctranslate2_transformer FOLDER float32 2 1 OMP_WAIT_POLICY=active

measures one precision and setting: threads in a product, translators that share the batch, and environment variables.
"""

import argparse
import os
from pathlib import Path

import numpy as np

POSITIONS = 512


def write(model, folder: Path) -> None:
    """Converts the model; precision is chosen when it is loaded."""
    from ctranslate2.specs import TransformerSpec, common_spec
    from keras import ops

    from tfseq.layers.positions import sinusoidal_positions

    activation = {"relu": common_spec.Activation.RELU, "gelu": common_spec.Activation.GELU}
    depths = len(model.encoder), len(model.decoder.blocks)
    spec = TransformerSpec.from_config(depths, model.heads, activation=activation[model.settings["activation"]])
    positions = np.asarray(sinusoidal_positions(ops.arange(POSITIONS), model.units))
    for side, blocks, embedding, norm in (
        (spec.encoder, model.encoder, model.source_embedding, model.encoder_norm),
        (spec.decoder, model.decoder.blocks, model.target_embedding, model.decoder.last_norm),
    ):
        tokens = side.embeddings[0] if isinstance(side.embeddings, list) else side.embeddings
        tokens.weight = np.asarray(embedding.symbols.embeddings)  # times sqrt(units), as `scale_embeddings` is True
        side.position_encodings.encodings = positions
        normalization(side.layer_norm, norm)
        for layer, block in zip(side.layer, blocks):
            normalization(layer.self_attention.layer_norm, block.around_attention.normalize)
            _dense(layer.self_attention.linear[0], block.attention.qkv)
            _dense(layer.self_attention.linear[1], block.attention.out)
            if hasattr(layer, "attention"):
                normalization(layer.attention.layer_norm, block.around_cross_attention.normalize)
                cross = block.cross_attention
                for linear, dense in zip(layer.attention.linear, (cross.query, cross.key_value, cross.out)):
                    _dense(linear, dense)
            normalization(layer.ffn.layer_norm, block.around_feed_forward.normalize)
            _dense(layer.ffn.linear_0, block.feed_forward.widen)
            _dense(layer.ffn.linear_1, block.feed_forward.narrow)
    spec.decoder.projection.weight = np.asarray(model.target_embedding.symbols.embeddings)  # (vocabulary, units)
    names = vocabulary(model.vocabulary_size, model.start, model.end)
    spec.register_source_vocabulary(names)
    spec.register_target_vocabulary(names)
    spec.validate()
    folder.mkdir(exist_ok=True)
    spec.save(str(folder))


def vocabulary(size: int, start: int, end: int) -> list[str]:
    """Names of token ids, among them those that CTranslate2 asks for."""
    names = [f"t{i}" for i in range(size)]
    names[0], names[start], names[end], names[3] = "<blank>", "<s>", "</s>", "<unk>"
    return names


def _dense(linear, dense):
    linear.weight = np.ascontiguousarray(np.asarray(dense.kernel).T)
    linear.bias = np.asarray(dense.bias)


def normalization(spec, layer):
    """Gives a layer normalization of CTranslate2 the weights of Keras'."""
    spec.gamma, spec.beta = np.asarray(layer.gamma), np.asarray(layer.beta)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("precision")
    parser.add_argument("threads", type=int)
    parser.add_argument("translators", type=int)
    parser.add_argument("environment", nargs="*", metavar="NAME=VALUE")
    arguments = parser.parse_args()
    os.environ.update(pair.split("=", 1) for pair in arguments.environment)  # read when the library is loaded
    import ctranslate2

    from benchmarks.harness.generation_task import measure, read_task

    translators = arguments.translators
    translator = ctranslate2.Translator(
        str(arguments.folder / "ctranslate2"),
        device="cpu",
        compute_type=arguments.precision,
        intra_threads=arguments.threads,
        inter_threads=translators,
    )
    task = read_task(arguments.folder)
    names = vocabulary(task.vocabulary, task.start, task.end)
    ids = {name: i for i, name in enumerate(names)}

    def run(source, width, length):
        results = translator.translate_batch(
            [[names[i] for i in row] for row in source],
            beam_size=width,
            min_decoding_length=length,
            max_decoding_length=length,
            max_batch_size=-(-len(source) // translators),
        )
        return np.array([[ids[name] for name in result.hypotheses[0]] for result in results])

    measure(run, arguments.folder, f"CTranslate2_{arguments.precision}")


if __name__ == "__main__":
    main()
