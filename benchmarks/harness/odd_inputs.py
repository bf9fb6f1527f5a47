"""Arguments that no one should give, from a seed: to the methods of the models of `exported/` and to its tokenizers."""

import functools
import random
from fractions import Fraction
from typing import Any

import numpy as np

from benchmarks.harness.damage import EXPORTED


def odd_call(seed: int) -> None:
    """Makes one call with odd arguments; what it returns is thrown away.

    Raises:
        TfseqError: as it should.
    """
    from tfseq import runtime

    rng = random.Random(seed)
    model = rng.choice(_models())
    manifest = model.manifest
    odd = _Odd(rng)
    fitting = {
        spec.name: np.ones(
            [3 if isinstance(size, str) else size for size in spec.shape],
            spec.dtype if spec.dtype != "string" else object,
        )
        for spec in manifest.inputs
    }
    settings = {name: odd.any() for name in [*model.settings, "temperature", "nothing"] if rng.random() < 0.3}
    text = rng.choice(("abc", ["abc", "de"], odd.any(), odd.text()))
    match rng.randrange(8):
        case 0 | 1:
            named = {name: odd.array(array) if rng.random() < 0.5 else array for name, array in fitting.items()}
            if rng.random() < 0.2:
                named[rng.choice(("x", "", odd.text()[:9], "self"))] = odd.any()
            if manifest.task == "generate" and rng.random() < 0.8:
                named["max_length"] = rng.choice((np.int32(3), -1, odd.any()))
            if isinstance(named.get("max_length"), int | np.integer):
                named["max_length"] = min(int(named["max_length"]), 50)  # a long text takes its time
            model.run(named)
        case 2:
            model.predict(*[odd.any() for _ in range(rng.randrange(3))])
        case 3:
            model.classify(text)
        case 4 | 5:
            length = rng.choice((2, 2, 2, odd.any()))
            if isinstance(length, int | np.integer) and not isinstance(length, bool) and 50 < length < 2**31:
                length = 50
            model.generate(
                text, 5 if length is None else length, prompt=rng.choice((None, None, odd.any())), **settings
            )
        case 6:
            stream = model.stream()
            stream.predict(odd.any())
        case 7:
            tokenizer = model.tokenizer or runtime.CharacterTokenizer(["<unk>", "a"])
            tokenizer.decode(odd.any())


class _Odd:
    def __init__(self, rng: random.Random):
        self._rng = rng

    def text(self) -> str:
        return self._rng.choice(
            ("", " ", "\0", "\ud83d", "\ud800\udc00", "a" * 5000, "\n" * 100, "\U0010ffff", "<end>", "e\u0301" * 50)
        )

    def any(self) -> Any:
        rng = self._rng
        numbers = (
            0,
            1,
            -1,
            0.5,
            10**400,
            -(10**5000),
            2**31,
            2**63,
            1e300,
            float("nan"),
            float("inf"),
            True,
            1j,
            Fraction(1, 3),
            np.float64(2),
            np.int8(3),
            np.uint64(2**64 - 1),
            np.bool_(True),
        )
        texts = (b"1", b"\xff", "1", "nan", self.text(), bytearray(b"ab"), np.str_("abc"))
        arrays: tuple[Any, ...] = (
            [], [[]], [1, 2], [[1, 2], [3]], ["a", 1], [None], (1,), {1: 2}, {"a": [1]}, set(), range(3), object(),
            None, int, iter([1]), lambda: 1,
            np.zeros((0, 3)), np.zeros((2, 0)), np.zeros((1, 1, 1, 1, 1)), np.ones((2, 3)), np.ones((2, 3), np.int64),
            -np.ones((2, 3), np.int32), np.full((2, 3), 2**31 - 1), np.array(1.5), np.array("x"), np.array(["a", "b"]),
            np.array([b"a"]), np.array([1, "a", None], object), np.array(["2020-01-01"], "M8[D]"), np.zeros(3, "f2"),
            np.zeros(2, [("a", "i4")]), np.ma.masked_array([1, 2], [True, False]),
        )  # fmt: skip
        return rng.choice(rng.choice((numbers, texts, arrays)))

    def array(self, fitting: np.ndarray) -> Any:
        rng = self._rng
        changed = (
            lambda: -fitting if fitting.dtype.kind in "if" else fitting,
            lambda: fitting * 10**6 if fitting.dtype.kind in "if" else fitting,
            lambda: fitting * 0 if fitting.dtype.kind in "if" else fitting,
            lambda: fitting[None],
            lambda: fitting.tolist(),
            lambda: fitting.astype(object),
            lambda: fitting[:0] if fitting.ndim else fitting,
            lambda: fitting.astype(rng.choice(("f2", "f8", "i8", "u1", "S3", "U3", "c8", "?"))),
            lambda: np.asfortranarray(fitting)[::-1] if fitting.ndim else fitting,
            self.any,
        )
        return rng.choice(changed)()


@functools.cache
def _models() -> list[Any]:
    from tfseq import runtime

    names = (
        "seq2seq",
        "char_lm_rnn",
        "forecasting",
        "frame_classification",
        "text_classification",
        "delayed_answer",
        "captioning_cnn_rnn",
        "blood_pressure",
        "transformer_lm",
    )
    files = [*(EXPORTED / name / "model.onnx" for name in names), EXPORTED / "frame_classification" / "model.step.onnx"]
    return [runtime.load(file) for file in files]
