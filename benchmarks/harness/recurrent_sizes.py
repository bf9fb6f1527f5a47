"""Recurrent layers by batch and units: Keras' own export, ours, and the matrix products that both have to compute.

    python -m benchmarks.export --parts sizes

The products are files, too: one product for all inputs, and those of each step, one step
after another, with nothing between them; and the same with a tanh of what each step gives. Any file of the layer has to
compute that much, whatever exported it.
"""

import sys
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from benchmarks.harness.export_contest import Contestant, Outcome, exported, time_in_turn

STEPS = 64
SIZES = ((1, 64), (1, 128), (1, 256), (8, 64), (8, 128), (32, 128), (8, 512))  # batch and units
GOAL = 3.0


def recurrent_layers() -> Mapping[str, tuple[Callable, tuple[int, ...]]]:
    """Layer -> what builds the model for some units, and how many gates each product of a step computes."""
    import keras
    from keras import layers

    def of(make):
        def build(units):
            x = keras.Input((None, units), name="x")
            return keras.Model(x, make(units)(x))

        return build

    def masked(make):
        def build(units):
            tokens = keras.Input((None,), dtype="int32", name="tokens")
            return keras.Model(tokens, make(units)(layers.Embedding(1000, units, mask_zero=True)(tokens)))

        return build

    return {
        "GRU": (of(layers.GRU), (3,)),
        "GRU, reset_after=False": (of(lambda units: layers.GRU(units, reset_after=False)), (2, 1)),
        "SimpleRNN": (of(layers.SimpleRNN), (1,)),
        "LSTM, masked": (masked(layers.LSTM), (4,)),
        "GRU, masked": (masked(layers.GRU), (3,)),
    }


def products(batch: int, units: int, gates: tuple[int, ...], activated: bool = False) -> Contestant:
    """The matrix products of a recurrent layer: one for all inputs, then those of each step, one step after another.

    Args:
        gates: how many of them each product of a step computes.
        activated: with a tanh of each step's results; a sigmoid takes as long.
    """
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)

    def weight(name, count):
        values = random.normal(size=(units, count * units)) / np.sqrt(units)
        return numpy_helper.from_array(values.astype("float32"), name)

    def value(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    outputs = {f"y{i}": count * units for i, count in enumerate(gates)}
    nodes = []
    for i, name in enumerate(outputs):
        product = f"product{i}" if activated else name
        nodes.append(helper.make_node("Gemm", ["h", f"R{i}"], [product]))
        if activated:
            nodes.append(helper.make_node("Tanh", [product], [name]))
    body = helper.make_graph(
        nodes,
        "step",
        [value("h", batch, units)],
        [value(name, batch, width) for name, width in outputs.items()],
    )
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "W"], ["projected"]),
            helper.make_node("Scan", ["x"], [f"{name} steps" for name in outputs], body=body, num_scan_inputs=1),
        ],
        "products",
        [value("x", STEPS, batch, units)],
        [
            value("projected", STEPS, batch, sum(gates) * units),
            *(value(f"{name} steps", STEPS, batch, width) for name, width in outputs.items()),
        ],
        [weight("W", sum(gates)), *(weight(f"R{i}", count) for i, count in enumerate(gates))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    x = random.normal(size=(STEPS, batch, units)).astype("float32")
    return Contestant(Outcome(), model.SerializeToString(), [x])


def table(seconds: float) -> str:
    """Every layer at every size in Markdown, and under it how many ratios reach 3."""
    rows = [
        "| layer | batch x units | Keras, ms | tfseq, ms | Keras / tfseq | products, ms | with tanh | Keras / these |",
        "|---|---|---|---|---|---|---|---|",
    ]
    ratios = []
    for name, (build, gates) in recurrent_layers().items():
        for batch, units in SIZES:
            contestants = [
                *exported(partial(build, units), [(batch, STEPS)]),
                products(batch, units, gates),
                products(batch, units, gates, activated=True),
            ]
            time_in_turn(contestants, seconds)
            stock, ours, alone, activated = (contestant.outcome for contestant in contestants)
            rows.append(
                f"| {name} | {batch} x {units} | {_time(stock)} | {_time(ours)} | {_ratio(stock, ours)} | "
                f"{_time(alone)} | {_time(activated)} | {_ratio(stock, activated)} |"
            )
            print(rows[-1], file=sys.stderr, flush=True)
            if stock.works and ours.works:
                ratios.append(stock.milliseconds / ours.milliseconds)
    if not ratios:
        raise SystemExit("No layer has a file of both exporters that works; the rows say why.")
    reached = sum(ratio >= GOAL for ratio in ratios)
    return "\n".join([*rows, "", f"- Keras / tfseq is {GOAL:g} or more in {reached} of {len(ratios)}."])


def _time(outcome: Outcome) -> str:
    return f"{outcome.milliseconds:.3f}" if outcome.works else outcome.cells()[0]


def _ratio(outcome: Outcome, base: Outcome) -> str:
    return f"{outcome.milliseconds / base.milliseconds:.2f}" if outcome.works and base.works else ""
