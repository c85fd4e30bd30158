#!/usr/bin/env python3
"""Tokens a second of a whole training step: this program's and PyTorch's, in turn, on the same shapes.

    python scripts/bench_pytorch.py SANDBOX [--rounds 3] [--seconds 6] [--threads 1,2] [--compile] [--out FILE]

PyTorch trains a Llama of the same shape (scaled-dot-product attention, fused RMSNorm and AdamW, gradient clipping), as
it is and, with --compile, through torch.compile. Variants take turns, and ratios are those of one round, so that a
machine that slows down slows all. Prints a table; FILE gets one JSON object with date, machine and versions.
"""

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import time

# Name, width, layers, heads, vocabulary, context, tokens in a batch.
SHAPES = [
    ("nano", 64, 4, 4, 512, 128, 4096),
    ("micro", 128, 4, 4, 1024, 256, 4096),
    ("9M", 320, 8, 5, 4096, 256, 8192),
]


def ours(sandbox, shape, threads, seconds):
    """One measurement by `sandbox bench`."""
    _, width, layers, heads, vocab, context, batch = shape
    command = [
        sandbox, "bench", "--json", "--shape", f"width={width},layers={layers},heads={heads}", "--vocab", str(vocab),
        "--context", str(context), "--batch-tokens", str(batch), "--threads", str(threads), "--seconds", str(seconds),
    ]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return answer["rows"][0]["tokens_per_second"]


def theirs(shape, threads, seconds, compiled):
    """One measurement of PyTorch, in a process of its own."""
    command = [sys.executable, __file__, "--one", json.dumps([shape, threads, seconds, compiled])]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout.splitlines()[-1])


def measure(shape, threads, seconds, compiled):
    """Trains in this process and prints tokens a second."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    _, width, layers, heads, vocab, context, batch = shape
    head = width // heads
    angles = torch.outer(torch.arange(context), 10000.0 ** (-torch.arange(0, head, 2) / head))
    cos, sin = (torch.cat([f(angles)] * 2, -1) for f in (torch.cos, torch.sin))

    def rotate(x):
        first, second = x.chunk(2, -1)
        return x * cos + torch.cat([-second, first], -1) * sin

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.RMSNorm(width, eps=1e-5), nn.RMSNorm(width, eps=1e-5)
            self.qkv = nn.Linear(width, 3 * width, bias=False)
            self.out = nn.Linear(width, width, bias=False)
            self.gate_up = nn.Linear(width, 5 * width, bias=False)
            self.down = nn.Linear(5 * width // 2, width, bias=False)

        def forward(self, x):
            count, time_, _ = x.shape
            q, k, v = (
                part.view(count, time_, heads, head).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, -1)
            )
            y = F.scaled_dot_product_attention(rotate(q), rotate(k), v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(count, time_, width))
            gate, up = self.gate_up(self.norm2(x)).chunk(2, -1)
            return x + self.down(F.silu(gate) * up)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(vocab, width)
            self.layers = nn.ModuleList(Layer() for _ in range(layers))
            self.norm = nn.RMSNorm(width, eps=1e-5)

        def forward(self, inputs, targets):
            x = self.embedding(inputs)
            for layer in self.layers:
                x = layer(x)
            logits = F.linear(self.norm(x), self.embedding.weight)
            return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    run = torch.compile(model) if compiled else model
    windows = torch.randint(0, vocab, (4, batch // context, context + 1))

    def step(number):
        window = windows[number % 4]
        loss = run(window[:, :-1], window[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    for number in range(4):
        step(number)
    rates, begin, number = [], time.perf_counter(), 0
    while not rates or time.perf_counter() - begin < seconds:
        start, steps = time.perf_counter(), 0
        while steps == 0 or time.perf_counter() - start < 0.5:
            step(number)
            number, steps = number + 1, steps + 1
        rates.append(steps * batch / (time.perf_counter() - start))
    print(json.dumps(statistics.median(rates)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("sandbox", nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--out")
    parser.add_argument("--one")
    args = parser.parse_args()
    if args.one:
        return measure(*json.loads(args.one))
    import torch

    variants = [("PyTorch", False)] + ([("torch.compile", True)] if args.compile else [])
    rows = []
    for shape in SHAPES:
        for threads in map(int, args.threads.split(",")):
            rounds = []
            for _ in range(args.rounds):
                turn = {"sandbox": ours(args.sandbox, shape, threads, args.seconds)}
                for name, compiled in variants:
                    turn[name] = theirs(shape, threads, args.seconds, compiled)
                rounds.append(turn)
            ratios = [turn["sandbox"] / max(turn[name] for name, _ in variants) for turn in rounds]
            medians = {name: statistics.median(turn[name] for turn in rounds) for name in rounds[0]}
            rows.append({"shape": shape[0], "threads": threads, "tokens_per_second": medians, "ratios": ratios})
            shown = "  ".join(f"{name} {value:,.0f}" for name, value in medians.items())
            print(f"{shape[0]:6} {threads} thread(s)  {shown}  ×{statistics.median(ratios):.2f} of the best", flush=True)
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if "model name" in line), "")
    record = {
        "date": datetime.date.today().isoformat(),
        "machine": {"cpu": cpu, "cores": os.cpu_count(), "system": platform.platform()},
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "command": " ".join(["scripts/bench_pytorch.py", *sys.argv[2:]]),
        "rows": rows,
    }
    if args.out:
        with open(args.out, "w") as file:
            json.dump(record, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
