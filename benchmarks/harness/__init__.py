"""What benchmarks are made of: contestants in turn, the tasks they solve, tables, and the machine they ran on."""
