"""What benchmarks share: contestants in turn, the tasks that they solve, tables."""
