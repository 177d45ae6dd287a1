"""Writes a Llama of random weights as a GGUF file, so that llama.cpp can be timed on the same shapes as the engine.

usage: make_gguf.py CONFIG.json OUT.gguf
       The decoder's sizes are those of the config's text_config; its type is torch_dtype, bfloat16 where it names none.
"""
import argparse
import json
import os
import struct

import numpy as np

ALIGNMENT = 32
TENSOR_TYPES = {"f32": 0, "f16": 1, "bf16": 30}
FILE_TYPES = {"f32": 0, "f16": 1, "bf16": 32}
UINT32, INT32, FLOAT32, STRING, ARRAY = 4, 5, 6, 8, 9
UNKNOWN, CONTROL, BYTE, NORMAL = 2, 3, 6, 1  # kinds of token


def string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


class Metadata:
    def __init__(self):
        self.entries = []

    def add(self, key, kind, payload):
        self.entries.append(string(key) + struct.pack("<I", kind) + payload)

    def text(self, key, value):
        self.add(key, STRING, string(value))

    def integer(self, key, value):
        self.add(key, UINT32, struct.pack("<I", value))

    def real(self, key, value):
        self.add(key, FLOAT32, struct.pack("<f", value))

    def array(self, key, kind, count, payload):
        self.add(key, ARRAY, struct.pack("<IQ", kind, count) + payload)


def metadata(a):
    m = Metadata()
    m.text("general.architecture", "llama")
    m.text("general.name", "random")
    m.integer("general.file_type", FILE_TYPES[a.type])
    m.integer("llama.block_count", a.layers)
    m.integer("llama.context_length", a.context)
    m.integer("llama.embedding_length", a.hidden)
    m.integer("llama.feed_forward_length", a.mlp)
    m.integer("llama.attention.head_count", a.heads)
    m.integer("llama.attention.head_count_kv", a.kv_heads)
    m.integer("llama.rope.dimension_count", a.hidden // a.heads)
    m.integer("llama.vocab_size", a.vocabulary)
    m.real("llama.attention.layer_norm_rms_epsilon", 1e-5)
    m.real("llama.rope.freq_base", 10000.0)
    # A vocabulary that means nothing, but is one: llama.cpp does not load a model without.
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    tokens += [f"t{i}" for i in range(a.vocabulary - len(tokens))]
    kinds = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256
    kinds += [NORMAL] * (a.vocabulary - len(kinds))
    m.text("tokenizer.ggml.model", "llama")
    m.array("tokenizer.ggml.tokens", STRING, a.vocabulary, b"".join(map(string, tokens)))
    m.array("tokenizer.ggml.scores", FLOAT32, a.vocabulary, np.arange(0, -a.vocabulary, -1, dtype="<f4").tobytes())
    m.array("tokenizer.ggml.token_type", INT32, a.vocabulary, np.array(kinds, "<i4").tobytes())
    m.integer("tokenizer.ggml.bos_token_id", 1)
    m.integer("tokenizer.ggml.eos_token_id", 2)
    return m


def tensors(a):
    """Names, shapes (rows first) and types."""
    d, t, kv = a.hidden, a.type, a.hidden // a.heads * a.kv_heads
    yield "token_embd.weight", (a.vocabulary, d), t
    for i in range(a.layers):
        block = f"blk.{i}."
        yield block + "attn_norm.weight", (d,), "f32"
        yield block + "attn_q.weight", (d, d), t
        yield block + "attn_k.weight", (kv, d), t
        yield block + "attn_v.weight", (kv, d), t
        yield block + "attn_output.weight", (d, d), t
        yield block + "ffn_norm.weight", (d,), "f32"
        yield block + "ffn_gate.weight", (a.mlp, d), t
        yield block + "ffn_up.weight", (a.mlp, d), t
        yield block + "ffn_down.weight", (d, a.mlp), t
    yield "output_norm.weight", (d,), "f32"
    yield "output.weight", (a.vocabulary, d), t


def byte_count(shape, kind):
    return int(np.prod(shape)) * (4 if kind == "f32" else 2)


def values(rng, shape, kind):
    if len(shape) == 1:  # norms
        return np.ones(shape, "<f4").tobytes()
    x = rng.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
    if kind == "f32":
        return x.astype("<f4").tobytes()
    return (x.view(np.uint32) >> 16).astype("<u2").tobytes() if kind == "bf16" else x.astype("<f2").tobytes()


def sizes(a):
    """Adds the sizes of a Hugging Face config to the arguments."""
    with open(a.config, encoding="utf-8") as f:
        config = json.load(f)
    text = config.get("text_config", config)
    if text.get("model_type", "llama") != "llama":
        raise SystemExit(f"{a.config}: the decoder is a {text['model_type']}; GGUF files are made of llama alone")
    a.layers, a.hidden, a.mlp = text["num_hidden_layers"], text["hidden_size"], text["intermediate_size"]
    a.heads, a.vocabulary = text["num_attention_heads"], text["vocab_size"]
    a.kv_heads = text.get("num_key_value_heads", a.heads)
    a.context = text.get("max_position_embeddings", 2048)
    a.type = {"float16": "f16", "float32": "f32"}.get(config.get("torch_dtype", config.get("dtype")), "bf16")


def main():
    p = argparse.ArgumentParser(description="Random Llama weights as a GGUF file.")
    p.add_argument("config")
    p.add_argument("out")
    a = p.parse_args()
    sizes(a)

    meta, listed = metadata(a), list(tensors(a))
    infos, offset = [], 0
    for name, shape, kind in listed:
        extents = b"".join(struct.pack("<Q", n) for n in reversed(shape))
        infos.append(string(name) + struct.pack("<I", len(shape)) + extents + struct.pack("<IQ", TENSOR_TYPES[kind], offset))
        offset += -(-byte_count(shape, kind) // ALIGNMENT) * ALIGNMENT
    header = b"GGUF" + struct.pack("<IQQ", 3, len(listed), len(meta.entries)) + b"".join(meta.entries + infos)

    rng = np.random.default_rng(0)
    partial = a.out + ".partial"
    with open(partial, "wb") as f:
        f.write(header + bytes(-len(header) % ALIGNMENT))
        for _, shape, kind in listed:
            f.write(values(rng, shape, kind))
            f.write(bytes(-byte_count(shape, kind) % ALIGNMENT))
    os.replace(partial, a.out)  # a file that is there is whole


if __name__ == "__main__":
    main()
