"""nanoGPT's CPU recipe for Shakespeare by character: 4 layers, 4 heads, 128 wide, block 64, batch 12, 2,000 iterations.

Written from the hyper-parameters that its README and config/train_shakespeare_char.py publish: no dropout, no biases,
tied embeddings, GELU, AdamW(0.9, 0.99) with weight decay 0.1 on matrices, warm-up 100 to 1e-3, cosine to 1e-4,
clipping at 1.
"""

import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

LAYERS, HEADS, WIDTH, BLOCK, BATCH, ITERATIONS = 4, 4, 128, 64, 12, 2000
LEARNING_RATE, LAST_LEARNING_RATE, WARMUP = 1e-3, 1e-4, 100


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(WIDTH, bias=False), nn.LayerNorm(WIDTH, bias=False)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x):
        batch, steps, _ = x.shape
        q, k, v = (
            part.view(batch, steps, HEADS, WIDTH // HEADS).transpose(1, 2)  # (batch, heads, time, width of a head)
            for part in self.qkv(self.norm_1(x)).split(WIDTH, dim=2)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(batch, steps, WIDTH)
        x = x + self.out(mixed)
        return x + self.down(F.gelu(self.up(self.norm_2(x))))


class GPT(nn.Module):
    def __init__(self, vocabulary):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, WIDTH), nn.Embedding(BLOCK, WIDTH)
        self.blocks = nn.Sequential(*[Block() for _ in range(LAYERS)])
        self.norm = nn.LayerNorm(WIDTH, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                residual = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * LAYERS) if residual else 0.02)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        return self.norm(self.blocks(x)) @ self.tokens.weight.T


def learning_rate(step):
    if step < WARMUP:
        return LEARNING_RATE * (step + 1) / (WARMUP + 1)
    decay = (step - WARMUP) / (ITERATIONS - WARMUP)
    return LAST_LEARNING_RATE + 0.5 * (1 + math.cos(math.pi * decay)) * (LEARNING_RATE - LAST_LEARNING_RATE)


def train(text):
    model = GPT(int(text.max()) + 1)
    decayed = [p for p in model.parameters() if p.dim() == 2]
    rest = [p for p in model.parameters() if p.dim() != 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, LEARNING_RATE, betas=(0.9, 0.99))
    for step in range(ITERATIONS):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        starts = torch.randint(len(text) - BLOCK, (BATCH,))
        windows = torch.stack([text[s : s + BLOCK + 1] for s in starts])
        loss = F.cross_entropy(model(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model


@torch.no_grad()
def validation_nats(model, text):
    """The mean over the whole validation text, cut into blocks: what nanoGPT estimates from random blocks."""
    blocks = (len(text) - 1) // BLOCK
    inputs, targets = (text[i : i + blocks * BLOCK].view(blocks, BLOCK) for i in (0, 1))
    losses = [
        F.cross_entropy(model(x).flatten(0, 1), y.flatten(), reduction="sum").item()
        for x, y in zip(inputs.split(256), targets.split(256), strict=True)
    ]
    return sum(losses) / targets.numel()


def main() -> None:
    torch.manual_seed(1337)
    text = Path(sys.argv[1]).read_text(encoding="utf-8")
    ids = {character: i for i, character in enumerate(sorted(set(text)))}
    tokens = torch.from_numpy(np.array([ids[c] for c in text]))
    cut = int(0.9 * len(tokens))
    started = time.perf_counter()
    model = train(tokens[:cut])
    seconds = time.perf_counter() - started
    print(json.dumps({"nats": validation_nats(model, tokens[cut:]), "seconds": seconds}))


if __name__ == "__main__":
    main()
