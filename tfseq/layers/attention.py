"""Attention: softmax(score(query, memory)) as a weighted mean of the memory."""

from keras import ops

HIDDEN = -1e9  # a score so low that its weight is 0


def dot_product_attention(query, keys, values, mask=None):
    """softmax(Q K' / sqrt(head_dim)) V  (Vaswani et al., 2017, eq. 1).

    Args:
        query: (batch, heads, queries, head_dim).
        keys, values: (batch, heads, entries, head_dim).
        mask: True where a query may look, broadcastable to (batch, heads, queries, entries); None for everywhere.

    Returns:
        (batch, heads, queries, head_dim), and the weights, (batch, heads, queries, entries) float32.
    """
    scores = ops.matmul(query * query.shape[-1] ** -0.5, ops.transpose(keys, (0, 1, 3, 2)))
    weights = masked_softmax(scores, mask)  # (batch, heads, queries, entries)
    return ops.matmul(ops.cast(weights, values.dtype), values), weights


def masked_softmax(scores, mask=None):
    """Weights that sum to 1 over the last axis, float32, and are 0 where the mask is False."""
    scores = ops.cast(scores, "float32")
    if scores.shape[-1] == 1:
        return ops.ones_like(scores)  # for which Keras would warn
    return ops.softmax(scores if mask is None else ops.where(mask, scores, HIDDEN), axis=-1)
