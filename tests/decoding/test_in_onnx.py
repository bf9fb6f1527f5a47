"""The generation loop as an ONNX graph: the tokens of reference decoding, and no step after the last row has ended."""

import numpy as np
import pytest

onnxruntime = pytest.importorskip("onnxruntime")
tf = pytest.importorskip("tensorflow")
pytest.importorskip("tf2onnx")

from tests.decoding import by_hand
from tests.decoding.toys import TableTranslator, assert_same, sources
from tfseq.decoding import Beam, Generated, Greedy, Sample, decode
from tfseq.exporting.conversion.convert import to_onnx
from tfseq.runtime.manifest import TensorSpec

FOR_EVER = 2**31 - 1
RULES = by_hand.Rules(2)


@pytest.mark.parametrize(
    ("strategy", "most", "expected"),
    [
        (Greedy(), FOR_EVER, lambda row, i: by_hand.greedy(*row, 100, RULES)),
        (Beam(3, 0.0), FOR_EVER, lambda row, i: by_hand.beam(*row, 100, RULES, 3, 0.0)),
        (Beam(2, 0.8), 12, lambda row, i: by_hand.beam(*row, 12, RULES, 2, 0.8)),
        (Sample(0.9, 6, 0.8, seed=3), 500, lambda row, i: by_hand.sample(*row, 500, RULES, i, 0.9, 6, 0.8, 3)),
    ],
)
def test_the_graph_writes_what_plain_lists_do(strategy, most, expected):
    model = TableTranslator(7, 1)
    inputs = [
        TensorSpec("source", "int32", ("batch", "time")),
        TensorSpec("max_length", "int32", ()),
        *(TensorSpec(name, dtype, ()) for name, dtype in strategy.dtypes(model).items()),
    ]
    graph = to_onnx(lambda **tensors: decode(model, strategy, tensors, ["attention"]), inputs, None)
    assert all(node.domain in ("", "ai.onnx") for node in graph.graph.node)
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    source = sources(6, seed=1)
    feeds = {spec.name: np.asarray(strategy.settings.get(spec.name, most), spec.dtype) for spec in inputs[1:]}
    names = [output.name for output in session.get_outputs()]
    generated = Generated(**dict(zip(names, session.run(None, {"source": source, **feeds}))))
    assert_same(generated, [expected((model.logits_of(row), [1]), i) for i, row in enumerate(source)])
    state = model.state_by_hand(source[0], [1])
    np.testing.assert_allclose(generated.attention[0, 0], source[0] + 0.001 * state, atol=1e-5)
