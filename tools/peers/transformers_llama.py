"""Times PyTorch's transformers on random Llama weights of a config's shapes: a prefill, then decode steps. Prints one JSON object a repeat, in
the terms of 'parvts bench'.

usage: transformers_llama.py CONFIG.json [--prompt 640] [--decode 16] [--threads 2] [--repeats 3]
"""
import argparse
import json
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM


def load(path):
    with open(path, encoding="utf-8") as f:
        config = json.load(f)
    text = dict(config.get("text_config", config))
    dtype = getattr(torch, config.get("torch_dtype", config.get("dtype")) or "bfloat16")
    torch.set_default_dtype(dtype)
    torch.manual_seed(1)
    return LlamaForCausalLM(LlamaConfig(**text)).eval()


def step(model, ids, cache):
    """The last row's token, and the cache. The head sees one row, as in an engine."""
    out = model.model(input_ids=ids, past_key_values=cache, use_cache=True)
    token = model.lm_head(out.last_hidden_state[:, -1:]).argmax(-1)
    return token, out.past_key_values


def main():
    p = argparse.ArgumentParser()
    p.add_argument("config")
    for name, value in dict(prompt=640, decode=16, threads=2, repeats=3).items():
        p.add_argument("--" + name, type=int, default=value)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    model = load(a.config)
    ids = torch.randint(0, model.config.vocab_size, (1, a.prompt))
    with torch.inference_mode():
        for _ in range(a.repeats):
            start = time.perf_counter()
            token, cache = step(model, ids, None)
            token.item()
            prefilled = time.perf_counter()
            for _ in range(a.decode):
                token, cache = step(model, token, cache)
                token.item()
            end = time.perf_counter()
            print(json.dumps({"prefill_ms": round(1e3 * (prefilled - start), 1), "decode_ms": round(1e3 * (end - prefilled) / a.decode, 3)}), flush=True)


if __name__ == "__main__":
    main()
