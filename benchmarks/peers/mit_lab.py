"""The music LSTM of lab 1 of MIT's course 6.S191, on the texts of `benchmarks.music`.

Written from the hyper-parameters that the lab publishes: embedding 256, LSTM of 1,024 units, windows of 100 characters
drawn at random, batches of 8, Adam with 5e-3, 3,000 iterations; no dropout, each window from a state of zeros.
"""

import copy
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

EMBEDDING, UNITS, WINDOW, BATCH, LEARNING_RATE, ITERATIONS = 256, 1024, 100, 8, 5e-3, 3000
EVALUATE_EVERY, PATIENCE = 100, 6  # evaluations without improvement before it may stop: its best is what counts


class LanguageModel(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, EMBEDDING)
        self.lstm = nn.LSTM(EMBEDDING, UNITS, batch_first=True)
        self.logits = nn.Linear(UNITS, vocabulary)

    def forward(self, tokens, state=None):
        x, state = self.lstm(self.embedding(tokens), state)
        return self.logits(x), state  # (batch, time, vocabulary)


def train(model, text, held_out, seconds):
    """Trains for so many CPU seconds, or for all iterations; the seconds of evaluating do not count.

    Returns:
        iterations made, seconds spent, the lowest loss on the held-out text and the iteration that had it. The model is
        left with its weights: a stop at the right moment, which the lab leaves to the reader.
    """
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    spent, best, since_best = 0.0, (float("inf"), 0), 0
    for iteration in range(1, ITERATIONS + 1):
        started = time.process_time()
        starts = np.random.randint(0, len(text) - WINDOW - 1, BATCH)
        windows = torch.stack([text[s : s + WINDOW + 1] for s in starts])
        logits, _ = model(windows[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        spent += time.process_time() - started
        last = iteration == ITERATIONS or spent >= seconds
        if iteration % EVALUATE_EVERY == 0 or last:
            nats = nats_per_character(model, held_out)
            print(f"iteration {iteration}, {spent:.0f} s: {nats:.4f} nats", file=sys.stderr, flush=True)
            since_best = 0 if nats < best[0] else since_best + 1
            if nats < best[0]:
                best, weights = (nats, iteration), copy.deepcopy(model.state_dict())
        if last or since_best == PATIENCE:
            break
    model.load_state_dict(weights)
    return iteration, spent, *best


@torch.no_grad()
def nats_per_character(model, streams):
    """Of every character after an empty line, read with the state of what came before it in its stream.

    Args:
        streams: texts that begin with a line feed, (time,) each.
    """
    padded = nn.utils.rnn.pad_sequence(streams, batch_first=True, padding_value=-1)  # (streams, time)
    state, total = None, 0.0
    for start in range(0, padded.shape[1] - 1, 200):
        piece, answer = (padded[:, start + shift : start + shift + 200] for shift in (0, 1))
        piece = piece[:, : answer.shape[1]]
        logits, state = model(piece.clamp(min=0), state)
        total += F.cross_entropy(logits.flatten(0, 1), answer.flatten(), ignore_index=-1, reduction="sum").item()
    return total / sum(len(stream) - 1 for stream in streams)


def main() -> None:
    from pipelines.music import load

    torch.manual_seed(0)
    np.random.seed(0)
    tunes = load(Path(sys.argv[1]))
    ids = {character: i for i, character in enumerate(sorted(set("".join(tunes.train))))}

    def stream(texts):
        """Tunes with an empty line after each; a character that training never showed is read as the first."""
        return torch.tensor([ids.get(c, 0) for c in "\n" + "".join(text + "\n" for text in texts)])

    validation_streams, test_streams = ([stream(p[i::16]) for i in range(16)] for p in (tunes.validation, tunes.test))
    model = LanguageModel(len(ids))
    iterations, seconds, validation, best = train(model, stream(tunes.train), validation_streams, float(sys.argv[2]))
    measured = {"nats": nats_per_character(model, test_streams), "validation_nats": validation}
    print(json.dumps(measured | {"seconds": seconds, "iterations": iterations, "best_iteration": best}))


if __name__ == "__main__":
    main()
