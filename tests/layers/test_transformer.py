"""Transformer blocks against PyTorch's, with its weights."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from tfseq.layers import transformer

UNITS, HEADS, HIDDEN = 12, 3, 20


def exact_gelu(x):
    return keras.activations.gelu(x, approximate=False)


def copy_norm(residual, norm):
    residual.normalize.set_weights([norm.weight.detach().numpy(), norm.bias.detach().numpy()])


def copy_dense(dense, weight, bias):
    dense.set_weights([weight.detach().numpy().T, bias.detach().numpy()])


def copy_block(block, theirs):
    own = theirs.self_attn
    copy_dense(block.attention.qkv, own.in_proj_weight, own.in_proj_bias)
    copy_dense(block.attention.out, own.out_proj.weight, own.out_proj.bias)
    copy_dense(block.feed_forward.widen, theirs.linear1.weight, theirs.linear1.bias)
    copy_dense(block.feed_forward.narrow, theirs.linear2.weight, theirs.linear2.bias)
    copy_norm(block.around_attention, theirs.norm1)
    if not isinstance(block, transformer.DecoderBlock):
        copy_norm(block.around_feed_forward, theirs.norm2)
        return
    cross, mixed = block.cross_attention, theirs.multihead_attn
    copy_dense(cross.query, mixed.in_proj_weight[:UNITS], mixed.in_proj_bias[:UNITS])
    copy_dense(cross.key_value, mixed.in_proj_weight[UNITS:], mixed.in_proj_bias[UNITS:])
    copy_dense(cross.out, mixed.out_proj.weight, mixed.out_proj.bias)
    copy_norm(block.around_cross_attention, theirs.norm2)
    copy_norm(block.around_feed_forward, theirs.norm3)


def randomized(torch, layer):
    torch.manual_seed(0)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return layer.eval()


@pytest.mark.parametrize("norm", transformer.NORMS)
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_encoder_block_is_that_of_pytorch(norm, activation):
    torch = pytest.importorskip("torch")
    options = {"dropout": 0.0, "batch_first": True, "norm_first": norm == "pre", "activation": activation}
    theirs = randomized(torch, torch.nn.TransformerEncoderLayer(UNITS, HEADS, HIDDEN, **options))
    ours = {"relu": "relu", "gelu": exact_gelu}[activation]
    block = transformer.TransformerBlock(UNITS, HEADS, HIDDEN, norm=norm, activation=ours)
    block.build((None, None, UNITS))
    copy_block(block, theirs)
    x = np.random.default_rng(0).normal(size=(2, 5, UNITS)).astype("float32")
    real = np.array([[True] * 5, [True, True, True, False, False]])
    with torch.no_grad():
        expected = theirs(torch.tensor(x), src_key_padding_mask=torch.tensor(~real)).numpy()
    result = np.asarray(block(x, real[:, None, None]))
    np.testing.assert_allclose(result[real], expected[real], atol=3e-5)


@pytest.mark.parametrize("norm", transformer.NORMS)
def test_decoder_block_is_that_of_pytorch(norm):
    torch = pytest.importorskip("torch")
    options = {"dropout": 0.0, "batch_first": True, "norm_first": norm == "pre"}
    theirs = randomized(torch, torch.nn.TransformerDecoderLayer(UNITS, HEADS, HIDDEN, **options))
    block = transformer.DecoderBlock(UNITS, HEADS, HIDDEN, norm=norm)
    block.build((None, None, UNITS))
    copy_block(block, theirs)
    rng = np.random.default_rng(0)
    x, memory = (rng.normal(size=(2, time, UNITS)).astype("float32") for time in (4, 6))
    real = np.array([[True] * 6, [True, True, False, False, False, False]])
    with torch.no_grad():
        expected = theirs(
            torch.tensor(x),
            torch.tensor(memory),
            tgt_mask=torch.nn.Transformer.generate_square_subsequent_mask(4),
            memory_key_padding_mask=torch.tensor(~real),
        ).numpy()
    keys_values = block.cross_attention.project(memory)
    result, weights = block(x, keys_values, transformer.causal_mask(4), real[:, None, None])
    np.testing.assert_allclose(result, expected, atol=3e-5)
    np.testing.assert_allclose(np.asarray(weights).sum(-1), 1, rtol=1e-5)
    assert np.all(np.asarray(weights)[1, :, :, 2:] == 0)


def test_rotary_cross_attention_sees_how_far_a_query_stands_from_a_key():
    """Scores of queries and keys that are all alike depend on the distance alone, and are largest where it is none."""
    layer = transformer.CrossAttention(8, 1, rotary=True)
    layer.build((None, None, 8))
    keras.utils.set_random_seed(0)
    kernel = np.random.default_rng(0).normal(size=(8, 8))
    layer.query.set_weights([kernel, np.zeros(8)])
    layer.key_value.set_weights([np.concatenate([kernel, np.eye(8)], 1), np.zeros(16)])
    alike = np.ones((1, 6, 8), "float32")
    keys_values = layer.project(alike)
    _, weights = layer(alike[:, :4], keys_values)
    scores = np.log(np.asarray(weights)[0, 0])  # (4, 6), up to a constant of each row
    scores = scores - np.diagonal(scores)[:, None]
    for row in range(1, 4):
        np.testing.assert_allclose(scores[row, row:], scores[0, : 6 - row], atol=1e-4)
        np.testing.assert_allclose(scores[row, 0], scores[0, row], atol=1e-4)
    assert np.argmax(weights, -1).tolist() == [[[0, 1, 2, 3]]]
    for position in range(4):  # and so does a step
        _, stepped = layer(alike[:, position], keys_values, queries=1, position=position)
        np.testing.assert_allclose(stepped[:, :, 0], weights[:, :, position], atol=1e-6)


@pytest.mark.parametrize("options", [{"activation": "gelu"}, {"activation": "gelu", "rotary": True}])
def test_training_on_a_cpu_gives_the_outputs_and_gradients_of_inference(options):
    """The kernels that XLA compiles for training against TensorFlow's own operators and their gradients."""
    tf = pytest.importorskip("tensorflow")
    block = transformer.TransformerBlock(UNITS, HEADS, HIDDEN, **options)
    block.build((None, None, UNITS))
    rng = np.random.default_rng(0)
    block.set_weights([w + rng.normal(0, 0.3, w.shape) for w in block.get_weights()])
    x, d = tf.constant(rng.normal(size=(2, 2, 7, UNITS)), tf.float32)

    @tf.function(autograph=False)
    def outputs_and_gradients(training):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = block(x, transformer.causal_mask(7), training=training)
        return [y, *tape.gradient(y, [x, *(w.value for w in block.trainable_variables)], d)]

    for ours, theirs in zip(outputs_and_gradients(True), outputs_and_gradients(False), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_what_joins_a_residual_is_dropped_at_its_rate_in_training_alone():
    tf = pytest.importorskip("tensorflow")
    residual = transformer.Residual(dropout=0.2)
    residual.build((None, None, 50))
    x, y = tf.zeros((20, 40, 50)), tf.ones((20, 40, 50))
    np.testing.assert_array_equal(residual.join(x, y), y)
    with tf.GradientTape() as tape:
        tape.watch(y)
        first = residual.join(x, y, training=True)
    np.testing.assert_array_equal(tape.gradient(first, y), first)  # the same elements, scaled alike
    first, second = np.asarray(first), np.asarray(residual.join(x, y, training=True))
    assert set(np.unique(first)) == {0.0, 1.25}
    assert np.mean(first == 0) == pytest.approx(0.2, abs=0.01)
    assert np.mean((first == 0) & (second == 0)) == pytest.approx(0.04, abs=0.01)  # drawn anew
    assert np.mean((first[..., 1:] == 0) & (first[..., :-1] == 0)) == pytest.approx(0.04, abs=0.01)
    assert np.mean((first[:, 1:] == 0) & (first[:, :-1] == 0)) == pytest.approx(0.04, abs=0.01)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: transformer.SelfAttention(10, 3), "units is 10 and heads 3; expected a multiple"),
        (lambda: transformer.SelfAttention(9, 3, rotary=True), "head is 3 wide; expected an even width"),
        (lambda: transformer.CrossAttention(9, 3, rotary=True), "head is 3 wide; expected an even width"),
        (lambda: transformer.CrossAttention(10, 0), "units is 10 and heads 0; expected a multiple"),
        (lambda: transformer.Residual("middle"), "norm is 'middle'; expected one of pre, post"),
    ],
)
def test_what_can_not_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
