"""`torch.nn.LSTM` as the language model of `benchmarks.recurrent_training`: tokens per second of a training step."""

import json
import sys
import time

import torch
from torch import nn

from benchmarks.harness.recurrent_task import BATCH, DEPTH, EMBEDDING, TIME, UNITS, VOCABULARY


class LanguageModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, EMBEDDING)
        self.lstm = nn.LSTM(EMBEDDING, UNITS, DEPTH, batch_first=True)
        self.logits = nn.Linear(UNITS, VOCABULARY)

    def forward(self, tokens):
        return self.logits(self.lstm(self.embedding(tokens))[0])  # (batch, time, vocabulary)


def measure(precision: str, steps: int, warmup: int = 4) -> float:
    torch.manual_seed(0)
    model = LanguageModel()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    tokens, targets = torch.randint(0, VOCABULARY, (2, BATCH, TIME))
    for step in range(warmup + steps):
        if step == warmup:
            started = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            logits = model(tokens).float()
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return steps * BATCH * TIME / (time.perf_counter() - started)


def main() -> None:
    precision, steps = sys.argv[1:]
    try:
        print(json.dumps({"tokens_per_second": measure(precision, int(steps))}))
    except RuntimeError as error:
        if "could not create a primitive" not in str(error):
            raise
        sys.exit(f"oneDNN has no {precision} LSTM for this CPU, so PyTorch has none")


if __name__ == "__main__":
    main()
