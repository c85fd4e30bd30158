#!/usr/bin/env python3
"""Loads exported folders with `transformers` and compares the logits that they give.

    python scripts/check_hugging_face.py [--tokens 3,1,4] [--reference STATE CONFIG] FOLDER...

FOLDER is what `transformers` loads with AutoModelForCausalLM. STATE is the training state that the folders were
exported from, CONFIG its `config.json` in MiniCPM's keys: from these two a forward pass in float64 with NumPy, which
shares no code with `transformers`, gives the logits that all folders must have.

Without --reference, the first folder's logits are what the others must have. Prints one JSON object: the logits of
each folder, and their largest difference relative to the largest logit. Ends with 1 when one is above 1e-5. Needs
numpy, safetensors, torch and transformers.
"""

import argparse
import json
import sys

import numpy as np
from safetensors.numpy import load_file

LIMIT = 1e-5


def rms_norm(x, gain, eps):
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + eps) * gain


def rotated(x, heads, theta):
    """Heads as complex numbers, row i with row i + head_dim / 2, turned by their position: (heads, T, head_dim / 2)."""
    time, width = x.shape
    half = width // heads // 2
    x = x.reshape(time, heads, 2, half).transpose(1, 0, 2, 3)
    frequencies = theta ** (-np.arange(half) / half)
    return (x[:, :, 0] + 1j * x[:, :, 1]) * np.exp(1j * np.outer(np.arange(time), frequencies))


def attention(x, weight, config):
    """Causal attention; each key and value head serves a group of query heads."""
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    time, head_dim = len(x), config["hidden_size"] // heads
    q = rotated(x @ weight("self_attn.q_proj").T, heads, config["rope_theta"])
    k = rotated(x @ weight("self_attn.k_proj").T, kv_heads, config["rope_theta"])
    v = (x @ weight("self_attn.v_proj").T).reshape(time, kv_heads, head_dim).transpose(1, 0, 2)
    k, v = (np.repeat(part, heads // kv_heads, axis=0) for part in (k, v))
    scores = (q @ k.conj().transpose(0, 2, 1)).real / np.sqrt(head_dim)
    scores = np.where(np.tri(time, dtype=bool), scores, -np.inf)
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    scores /= scores.sum(axis=-1, keepdims=True)
    return (scores @ v).transpose(1, 0, 2).reshape(time, -1) @ weight("self_attn.o_proj").T


def feed_forward(x, weight):
    gate = x @ weight("mlp.gate_proj").T
    return (gate / (1 + np.exp(-gate)) * (x @ weight("mlp.up_proj").T)) @ weight("mlp.down_proj").T


def weights_of(state, layer):
    return lambda name: state[f"model.layers.{layer}.{name}.weight"]


def reference(state, config, tokens):
    """Logits of MiniCPM in float64: (T, vocab)."""
    with open(config) as file:
        config = json.load(file)
    state = {name: value.astype(np.float64) for name, value in load_file(state).items()}
    residual = config["scale_depth"] / np.sqrt(config["num_hidden_layers"])
    eps = config["rms_norm_eps"]
    embedding = state["model.embed_tokens.weight"]
    assert embedding.shape == (config["vocab_size"], config["hidden_size"])
    x = embedding[tokens] * config["scale_emb"]
    for layer in range(config["num_hidden_layers"]):
        weight = weights_of(state, layer)
        x = x + residual * attention(rms_norm(x, weight("input_layernorm"), eps), weight, config)
        x = x + residual * feed_forward(rms_norm(x, weight("post_attention_layernorm"), eps), weight)
    x = rms_norm(x, state["model.norm.weight"], eps)
    return x / (config["hidden_size"] / config["dim_model_base"]) @ embedding.T


def loaded(folder, tokens):
    """Logits of a folder as `transformers` reads it, in its own float32: (T, vocab)."""
    import torch
    from transformers import AutoModelForCausalLM

    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, local_files_only=True)
    wrong = {kind: sorted(names) for kind, names in info.items() if names}
    if wrong:
        sys.exit(f"{folder}: not every weight found its place: {wrong}")
    with torch.no_grad():
        logits = model.eval()(torch.tensor([tokens])).logits[0]
    if logits.dtype != torch.float32:
        sys.exit(f"{folder}: loaded as {logits.dtype}, not as float32")
    return type(model).__name__, logits.double().numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", default="3,1,4,1,5,9,2,6", help="tokens of one sequence, with commas")
    parser.add_argument("--reference", nargs=2, metavar=("STATE", "CONFIG"))
    parser.add_argument("folders", nargs="+", metavar="FOLDER")
    args = parser.parse_args()
    tokens = [int(token) for token in args.tokens.split(",")]

    answer = {"tokens": tokens, "folders": []}
    for folder in args.folders:
        model, logits = loaded(folder, tokens)
        answer["folders"].append({"folder": folder, "model": model, "logits": logits.tolist()})
    expected = reference(*args.reference, tokens) if args.reference else np.array(answer["folders"][0]["logits"])
    answer |= {"expected": expected.tolist(), "largest_logit": float(np.abs(expected).max()), "difference": 0.0}
    for folder in answer["folders"]:
        difference = np.abs(np.array(folder["logits"]) - expected).max() / answer["largest_logit"]
        folder["difference"] = float(difference)
        # Not a number must not pass for small.
        answer["difference"] = float(np.maximum(answer["difference"], difference))
    print(json.dumps(answer))
    sys.exit(not answer["difference"] <= LIMIT)


if __name__ == "__main__":
    main()
