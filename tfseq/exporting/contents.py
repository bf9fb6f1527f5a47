"""`Content`: the graphs of a file and how its outputs are told: of whole sequences, chunks, a loop or a step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tfseq.exporting.generation.code_points import code_points_of
from tfseq.exporting.generation.loop_graph import attention_width, generated_specs, generation_signature
from tfseq.exporting.generation.step_graph import step_graph
from tfseq.exporting.generation.token_interface import token_interface
from tfseq.exporting.proving import parity
from tfseq.exporting.proving.chunk_parity import require_causal
from tfseq.exporting.proving.generation_parity import check_loop_logits
from tfseq.exporting.proving.report import NumberCheck
from tfseq.exporting.signatures.accepted_inputs import AcceptedInputs
from tfseq.exporting.signatures.output_axes import output_specs
from tfseq.exporting.signatures.sample_inputs import feeds
from tfseq.exporting.signatures.signature import Run, Signature, forward_signature
from tfseq.exporting.signatures.text_inputs import text_input
from tfseq.exporting.streaming.chunk_graph import is_stateful, stream_signature
from tfseq.runtime.manifest import StateSpec, TensorSpec


@dataclass(frozen=True)
class Content:
    """The content of a file before it is written.

    Attributes:
        task: of the manifest.
        signatures: by name, as a SavedModel has them; the last one is what the manifest describes, and the ONNX graph.
        outputs: of that one, from a function that runs it.
        witnessed: that one with WITNESSES, of a loop.
        loop_logits: checks them, given a function that runs it.
        states: of a chunk graph or a decode step graph.
        tokenizer: of the manifest where it follows from the model, or the graph does a part of its work.
        sampled: the inputs that the user's samples are for.
        accepted: what the last signature takes, of a forward graph; found once for all that try it.
    """

    task: str
    signatures: Mapping[str, Signature]
    outputs: Callable[[Run], tuple[TensorSpec, ...]]
    witnessed: Signature | None = None
    loop_logits: Callable[[Run], NumberCheck] | None = None
    states: tuple[StateSpec, ...] = ()
    tokenizer: dict[str, Any] | None = None
    sampled: Sequence[TensorSpec] = ()
    accepted: AcceptedInputs | None = None

    @property
    def described(self) -> Signature:
        return list(self.signatures.values())[-1]

    @property
    def described_name(self) -> str:
        return list(self.signatures)[-1]


def forward(model, streaming, samples, path):
    """The model's `call`, over whole sequences or in chunks."""
    if not (streaming or (streaming is None and is_stateful(model))):
        signature = forward_signature(model, samples)
        accepted = AcceptedInputs(signature, signature.feeds(samples))
        text = text_input(model, signature) if path.suffix == ".onnx" else None  # TensorFlow takes text apart itself
        return Content(
            "predict",
            {"serve": signature if text is None else text.signature},
            lambda _: output_specs(accepted),
            tokenizer=None if text is None else text.tokenizer.to_json(),
            sampled=signature.sampled,
            accepted=accepted,
        )
    stream = stream_signature(model, samples)
    require_causal(model, stream, parity.tolerance_for(model))
    begun = AcceptedInputs(stream.signature, [stream.begun(sample) for sample in feeds(samples, stream.inputs)])
    return Content(
        "predict",
        {"stream": stream.signature},
        lambda _: output_specs(begun),
        states=stream.states,
        sampled=stream.inputs,
        accepted=begun,
    )


def loop(model, decode, attention, prefix, path, tokenizer):
    """The whole decoding loop."""
    codes = None if tokenizer is None else code_points_of(tokenizer, model.vocabulary_size)
    signatures = {"generate": generation_signature(model, decode, attention, codes, prefix=prefix)}
    witnessed = generation_signature(model, decode, attention, codes, witnesses=True, prefix=prefix)
    if path.suffix != ".onnx":
        signatures = {"serve": forward_signature(model), **signatures}

    def outputs(run):
        return generated_specs(attention_width(run, model, decode, prefix) if attention else None)

    coded = None if codes is None else codes.to_json()
    interface = token_interface(coded, model.vocabulary_size)

    def loop_logits(run):
        run = interface.in_token_ids(run, witnessed.inputs)
        return check_loop_logits(run, model, decode, parity.tolerance_for(model), interface, prefix)

    return Content("generate", signatures, outputs, witnessed, loop_logits, tokenizer=coded)


def one_step(model, decode, path, tokenizer):
    """One decode step, over token ids: its caller feeds back what it chose, up to the end token."""
    step = step_graph(model, decode)
    return Content("stream_generate", {"stream_generate": step.signature}, lambda _: step.outputs, states=step.states)
