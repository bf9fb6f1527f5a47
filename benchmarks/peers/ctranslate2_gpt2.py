"""CTranslate2 with the weights of KerasHub's GPT-2.

python -m benchmarks.peers.ctranslate2_gpt2 FOLDER float32
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.gpt2_task import THREADS, GPT2Task
from benchmarks.peers.ctranslate2_transformer import normalization


def write(model: Any, folder: Path) -> None:
    """Converts the task; precision is chosen when it is loaded."""
    from ctranslate2.specs import TransformerDecoderModelSpec, common_spec

    backbone = model.backbone
    spec = TransformerDecoderModelSpec.from_config(
        backbone.num_layers, backbone.num_heads, pre_norm=True, activation=common_spec.Activation.GELUTanh
    )
    decoder = spec.decoder
    decoder.scale_embeddings = False
    decoder.embeddings.weight = np.asarray(backbone.token_embedding.embeddings)
    decoder.position_encodings.encodings = np.asarray(backbone.position_embedding.position_embeddings)
    decoder.projection.weight = np.asarray(backbone.token_embedding.embeddings)
    normalization(decoder.layer_norm, backbone.layer_norm)
    for layer, block in zip(decoder.layer, backbone.transformer_layers):
        attention = block._self_attention_layer
        three = attention.query_dense, attention.key_dense, attention.value_dense
        normalization(layer.self_attention.layer_norm, block._self_attention_layer_norm)
        _dense(layer.self_attention.linear[0], *three)
        _dense(layer.self_attention.linear[1], attention.output_dense, read=2)
        normalization(layer.ffn.layer_norm, block._feedforward_layer_norm)
        _dense(layer.ffn.linear_0, block._feedforward_intermediate_dense)
        _dense(layer.ffn.linear_1, block._feedforward_output_dense)
    spec.register_vocabulary([f"t{i}" for i in range(backbone.vocabulary_size)])
    spec.config.bos_token, spec.config.eos_token, spec.config.unk_token = "t0", "t1", "t2"
    spec.validate()
    folder.mkdir(exist_ok=True)
    spec.save(str(folder))


def _dense(linear, *dense, read=1):
    """One product of several layers side by side; `read` axes of their kernels are those of the input."""
    kernels = [np.asarray(each.kernel) for each in dense]
    flat = [kernel.reshape(int(np.prod(kernel.shape[:read])), -1) for kernel in kernels]
    linear.weight = np.ascontiguousarray(np.concatenate(flat, axis=1).T)
    linear.bias = np.concatenate([np.asarray(each.bias).ravel() for each in dense])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("precision")
    arguments = parser.parse_args()
    import ctranslate2

    task = GPT2Task.read(arguments.folder)
    generator = ctranslate2.Generator(
        str(arguments.folder / "ctranslate2"),
        device="cpu",
        compute_type=arguments.precision,
        intra_threads=THREADS,
        inter_threads=1,
    )

    def generate(prompts, new):
        results = generator.generate_batch(
            [[f"t{i}" for i in row] for row in prompts],
            beam_size=1,
            min_length=new,
            max_length=new,
            include_prompt_in_result=False,
        )
        return np.array([result.sequences_ids[0] for result in results])

    task.measure(generate, arguments.folder / f"CTranslate2_{arguments.precision}.npz")


if __name__ == "__main__":
    main()
