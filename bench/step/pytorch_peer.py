"""A BERT encoder's training step in PyTorch to compare with, on the CPU, with the same sizes, loss and optimiser.

Reads one JSON object with the sizes from the first line of standard input, then takes a step for each line "eager" or
"fused" (the attention written out, or scaled_dot_product_attention) and answers with its seconds.
"""

import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional

sizes = json.loads(sys.stdin.readline())
texts, tokens, width, heads = (sizes[name] for name in ("texts", "tokens", "width", "heads"))
torch.set_num_threads(sizes["threads"])
torch.manual_seed(1)
EPSILON = 1e-12


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, sizes["inner"]), nn.Linear(sizes["inner"], width)
        self.norm, self.last_norm = (nn.LayerNorm(width, EPSILON) for _ in range(2))

    def forward(self, x, bias, fused):
        rows, length, _ = x.shape
        split = lambda y: y.view(rows, length, heads, -1).transpose(1, 2)
        query, key, value = split(self.query(x)), split(self.key(x)), split(self.value(x))
        if fused:
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        else:
            scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5 + bias
            mixed = torch.softmax(scores, -1) @ value
        x = self.norm(x + self.output(mixed.transpose(1, 2).reshape(rows, length, width)))
        return self.last_norm(x + self.down(functional.gelu(self.up(x))))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(rows, width) for rows in (sizes["vocabulary"], 512, 2))
        self.norm = nn.LayerNorm(width, EPSILON)
        self.layers = nn.ModuleList(Layer() for _ in range(sizes["layers"]))
        self.tables.requires_grad_(False)

    def forward(self, ids, mask, fused):
        embedded = self.tables[0](ids) + self.tables[1](torch.arange(ids.shape[1])) + self.tables[2](ids * 0)
        x = self.norm(embedded)
        bias = ((1 - mask) * -1e4)[:, None, None, :].expand(-1, 1, ids.shape[1], -1)
        for layer in self.layers:
            x = layer(x, bias, fused)
        weights = mask[..., None]
        return (x * weights).sum(1) / weights.sum(1)


encoder = Encoder()
trained = [weight for weight in encoder.parameters() if weight.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=1e-5, fused=True)
ids = torch.randint(1000, 21000, (texts, tokens))
mask = torch.ones(texts, tokens)
teacher = torch.randn(texts, width)


def loss_of(vectors):
    if sizes["loss"] == "distillation":
        cosine = functional.cosine_similarity(vectors, teacher).mean()
        return functional.mse_loss(vectors, teacher) + 1 - cosine
    queries, documents = functional.normalize(vectors).chunk(2)
    return functional.cross_entropy(queries @ documents.T / 0.05, torch.arange(len(queries)))


def step(fused):
    loss = loss_of(encoder(ids, mask, fused))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    return loss.item()


print(json.dumps({"version": torch.__version__}), flush=True)
for line in sys.stdin:
    fused = json.loads(line)["attention"] == "fused"
    started = time.perf_counter()
    step(fused)
    print(json.dumps(time.perf_counter() - started), flush=True)
