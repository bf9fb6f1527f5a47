"""Into how many streams the recurrent kernels cut a batch, so that each core has a loop of its own."""

# Rows per stream below which the fixed cost of a product outweighs another core: chosen on two cores.
SMALLEST_STREAM = 8


def stream_count(batch, cores):
    """The most streams, at most one per core, that cut a batch evenly into at least `SMALLEST_STREAM` rows each.

    1 where the batch is unknown while tracing. A batch of 64 is cut into 1, 4, 8 and 8 streams on 1, 4, 8 and 16 cores;
    one of 32 into 1, 4, 4 and 4: larger batches keep more cores busy.
    """
    if batch is None:
        return 1
    return max(n for n in range(1, cores + 1) if n == 1 or (batch % n == 0 and batch // n >= SMALLEST_STREAM))
