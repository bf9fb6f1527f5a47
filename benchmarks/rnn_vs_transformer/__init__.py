"""RNN against Transformer as sequences grow from 32 to 4,096 symbols: what each costs, and what each remembers."""
