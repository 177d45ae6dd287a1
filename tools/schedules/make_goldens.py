#!/usr/bin/env python3
"""Golden schedules of the demo model, computed a second time: numpy, float64, plain matrices, two separate runs for the
two paths. Shares no code with the engine, and nothing of its way of working (no packed rows, no cache, no flash
attention), so that both can hardly be wrong in the same way.

    /usr/bin/python3 tools/schedules/make_goldens.py     (needs numpy; writes tests/data/goldens/schedules)

The form is that of the larger golden set: a JSON and a safetensors file a case. Each case also records how far from the
truth a bfloat16 run of it is, along the same tokens (`bfloat16_run`): every result rounded where an eager run of the
published implementation rounds it. That is the yardstick for devices that compute in bfloat16.
"""
import json
import struct
import zlib
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "tests/data/demo-model/model"
EVAL = ROOT / "tests/data/demo-model/eval"
OUT = ROOT / "tests/data/goldens/schedules"
STEPS = 6

PROMPTS = [
    # USER: <image>\nhow many objects are there? ASSISTANT:
    [1, 351, 333, 537, 333, 13, 434, 432, 429, 430, 428, 346],
    # USER: <image>\nwhat color is the background? ASSISTANT:
    [1, 351, 333, 537, 333, 13, 359, 383, 356, 336, 379, 346],
]
CASES = [
    ("dense", {}, 0, 0),
    ("parvts", {"keep": 36, "migrate": 1, "fuse": "mean"}, 0, 0),
    ("parvts", {"keep": 18, "migrate": 3, "fuse": "w:0.7"}, 1, 5),
    ("parvts", {"keep": 36, "migrate": 2, "fuse": "mass"}, 0, 9),
    ("parvts", {"keep": 9, "migrate": 4, "fuse": "lse"}, 1, 2),
    ("cls-prune", {"keep": 36}, 0, 5),
    ("fastv", {"layer": 2, "keep": 36}, 0, 0),
    ("fastv", {"layer": 5, "keep": 0.25}, 1, 9),
    ("vtw", {"layer": 4}, 1, 0),
    ("grid", {"keep": 18}, 0, 2),
]


def read_weights(path):
    data = path.read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    weights = {}
    for name, about in header.items():
        assert about["dtype"] == "BF16", name
        start, end = about["data_offsets"]
        raw = np.frombuffer(data[8 + size + start:8 + size + end], dtype="<u2").astype("<u4") << 16
        weights[name] = raw.view("<f4").astype(np.float64).reshape(about["shape"])
    return weights


def read_png(path):
    """8-bit RGB, not interlaced: what the demo's pictures are."""
    data, at, packed, width, height = path.read_bytes(), 8, b"", 0, 0
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, color, _, _, interlace = struct.unpack(">IIBBBBB", body)
            assert (depth, color, interlace) == (8, 2, 0)
        elif kind == b"IDAT":
            packed += body
        at += 12 + length
    raw = np.frombuffer(zlib.decompress(packed), dtype=np.uint8).reshape(height, 1 + 3 * width)
    rows = np.zeros((height, 3 * width), dtype=np.int64)
    for y in range(height):
        above = rows[y - 1] if y else np.zeros(3 * width, dtype=np.int64)
        for x in range(3 * width):
            left = rows[y, x - 3] if x >= 3 else 0
            corner = above[x - 3] if x >= 3 else 0
            guess = [0, left, above[x], (left + above[x]) // 2, paeth(left, above[x], corner)][raw[y, 0]]
            rows[y, x] = (raw[y, 1 + x] + guess) & 255
    return rows.reshape(height, width, 3)


def paeth(left, up, corner):
    p = left + up - corner
    return min((left, up, corner), key=lambda v: abs(p - v))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def erf(x):
    # Series and continued behaviour are not needed at full precision everywhere: numpy has no erf, math has.
    from math import erf as one
    return np.vectorize(one)(x)


class Reference:
    """The model in float64. What is passed through `r` is what an implementation in a narrower type rounds."""

    def r(self, x):
        return x

    def __init__(self):
        self.w = read_weights(MODEL / "model.safetensors")
        config = json.loads((MODEL / "config.json").read_text())
        self.text, self.vision = config["text_config"], config["vision_config"]
        self.image_token = config["image_token_index"]
        self.blocks = self.vision["num_hidden_layers"] + 1 + config["vision_feature_layer"]
        self.processor = json.loads((MODEL / "preprocessor_config.json").read_text())

    def norm(self, x, name, epsilon):
        mean = x.mean(-1, keepdims=True)
        return self.r((x - mean) / np.sqrt(((x - mean) ** 2).mean(-1, keepdims=True) + epsilon) * self.w[name + ".weight"] + self.w[name + ".bias"])

    def linear(self, x, name):
        y = x @ self.w[name + ".weight"].T
        return self.r(y + self.w[name + ".bias"] if name + ".bias" in self.w else y)

    def look(self, picture):
        """Visual tokens [N, D] and the class token's attention [N]."""
        v = self.vision
        rgb = read_png(picture) / 255.0
        pixels = self.r((rgb - np.array(self.processor["image_mean"])) / np.array(self.processor["image_std"]))
        side, p = v["image_size"] // v["patch_size"], v["patch_size"]
        patches = pixels.reshape(side, p, side, p, 3).transpose(0, 2, 4, 1, 3).reshape(side * side, -1)
        tower = "vision_tower.vision_model."
        x = self.r(patches @ self.w[tower + "embeddings.patch_embedding.weight"].reshape(v["hidden_size"], -1).T)
        x = self.r(np.vstack([self.w[tower + "embeddings.class_embedding"], x]) + self.w[tower + "embeddings.position_embedding.weight"])
        x = self.norm(x, tower + "pre_layrnorm", v["layer_norm_eps"])
        heads, size = v["num_attention_heads"], v["hidden_size"] // v["num_attention_heads"]
        for block in range(self.blocks):
            layer = f"{tower}encoder.layers.{block}."
            y = self.norm(x, layer + "layer_norm1", v["layer_norm_eps"])
            q, k, value = (self.linear(y, f"{layer}self_attn.{n}_proj").reshape(-1, heads, size).transpose(1, 0, 2) for n in "qkv")
            probabilities = self.r(softmax(self.r(self.r(q @ k.transpose(0, 2, 1)) / np.sqrt(size))))
            x = self.r(x + self.linear(self.r(probabilities @ value).transpose(1, 0, 2).reshape(len(x), -1), layer + "self_attn.out_proj"))
            y = self.linear(self.norm(x, layer + "layer_norm2", v["layer_norm_eps"]), layer + "mlp.fc1")
            x = self.r(x + self.linear(self.r(y * self.r(1 / (1 + np.exp(-self.r(1.702 * y))))), layer + "mlp.fc2"))
        y = self.linear(x[1:], "multi_modal_projector.linear_1")
        y = self.r(0.5 * y * (1 + erf(y / np.sqrt(2))))
        return self.linear(y, "multi_modal_projector.linear_2"), probabilities[:, 0, 1:].mean(0)

    def rms(self, x, name):
        return self.r(self.r(x / np.sqrt((x ** 2).mean(-1, keepdims=True) + self.text["rms_norm_eps"])) * self.w[name])

    def rotate(self, x, positions):
        size = x.shape[-1]
        angle = np.outer(positions, self.text["rope_theta"] ** (-np.arange(0, size, 2) / size))
        cos, sin = self.r(np.cos(angle)[:, None]), self.r(np.sin(angle)[:, None])
        a, b = x[..., :size // 2], x[..., size // 2:]
        return self.r(np.concatenate([self.r(a * cos) - self.r(b * sin), self.r(b * cos) + self.r(a * sin)], -1))

    def layer(self, index, x, positions):
        """One causal layer; the new rows, and probabilities and scaled logits [heads, rows, rows]."""
        t, name = self.text, f"language_model.model.layers.{index}."
        heads, size = t["num_attention_heads"], t["head_dim"]
        y = self.rms(x, name + "input_layernorm.weight")
        q, k, value = (self.linear(y, f"{name}self_attn.{n}_proj").reshape(len(x), heads, size) for n in "qkv")
        q, k = self.rotate(q, positions), self.rotate(k, positions)
        logits = self.r(self.r(np.einsum("qhd,khd->hqk", q, k)) / np.sqrt(size))
        hidden = np.triu(np.ones((len(x), len(x)), dtype=bool), 1)
        logits[:, hidden] = -np.inf
        probabilities = self.r(softmax(logits))
        x = self.r(x + self.linear(self.r(np.einsum("hqk,khd->qhd", probabilities, value)).reshape(len(x), -1), name + "self_attn.o_proj"))
        y = self.rms(x, name + "post_attention_layernorm.weight")
        gate = self.linear(y, name + "mlp.gate_proj")
        inner = self.r(self.r(gate / (1 + np.exp(-gate))) * self.linear(y, name + "mlp.up_proj"))
        return self.r(x + self.linear(inner, name + "mlp.down_proj")), probabilities, logits

    def head(self, row):
        return self.linear(self.rms(row, "language_model.model.norm.weight"), "language_model.lm_head")


class BFloat16(Reference):
    """The same, rounded to bfloat16 where an eager run in that type stores something; sums themselves are exact."""

    def r(self, x):
        bits = np.asarray(x, dtype=np.float32).view(np.uint32).astype(np.uint64)
        narrow = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16).astype(np.uint32).view(np.float32)
        return np.where(np.isfinite(x), narrow, x).astype(np.float64)


class Case:
    """A policy on a prompt. Decoding replays everything: the choices of the prompt stay, new rows join path A."""

    def __init__(self, reference, policy, parameters, prompt, picture):
        self.r, self.policy, self.p = reference, policy, parameters
        self.visual, self.attention = reference.look(EVAL / f"images/{picture:04}.png")
        ids = PROMPTS[prompt]
        self.s = ids.index(reference.image_token)
        self.n, self.m = len(self.visual), len(ids) - self.s - 1
        self.ids = ids
        embed = reference.w["language_model.model.embed_tokens.weight"]
        self.rows = np.vstack([embed[ids[:self.s]], self.visual, embed[ids[self.s + 1:]]])
        self.layers = reference.text["num_hidden_layers"]
        self.decisions, self.kept, self.last, self.notes = [], [(-1, list(range(self.n)))], {}, {}

    def top(self, scores, count, layer, what, ids):
        order = np.argsort(-scores, kind="stable")
        chosen = sorted(int(ids[i]) for i in order[:count])
        gap = float(scores[order[count - 1]] - scores[order[count]]) if count < len(scores) else 0.0
        self.decisions.append(dict(layer=layer, what=what, chosen=chosen, gap=gap, values=scores, ids=[int(i) for i in ids]))
        return chosen

    def count(self, keep, n):
        return int(np.round(keep * n)) if keep < 1 else min(int(keep), n)

    def positions(self, kept, extra):
        return list(range(self.s)) + [self.s + i for i in kept] + [self.s + self.n + i for i in range(self.m + extra)]

    def take(self, new_rows):
        everything = np.vstack([self.rows, new_rows]) if len(new_rows) else self.rows
        return lambda kept: everything[self.positions(kept, len(new_rows))]

    def run(self, new_rows, first):
        """Hidden rows after the last layer; on the first run choices are made and written down."""
        take = self.take(new_rows)
        extra = len(new_rows)
        everything = list(range(self.n))
        if self.policy == "parvts":
            return self.run_parvts(take, extra, first)
        kept = everything
        if self.policy == "grid":
            kept = [i * self.n // self.p["keep"] for i in range(self.p["keep"])]
        if self.policy == "cls-prune":
            kept = self.choose_subject(first)
        if kept != everything and first:
            self.kept[0] = (-1, kept)
        x, positions = take(kept), self.positions(kept, extra)
        self.rows_by_layer = []
        for layer in range(self.layers):
            keep = None
            if self.policy == "vtw" and layer == self.p["layer"]:
                keep = []
            if self.policy == "fastv" and layer == self.p["layer"]:
                if first:
                    scores = probabilities[:, -1, self.s:self.s + self.n].mean(0)
                    self.chosen = self.top(scores, self.count(self.p["keep"], self.n), layer, "last row of layer K-1", kept)
                keep = self.chosen
            if keep is not None:
                rows = list(range(self.s)) + [self.s + i for i in keep] + list(range(self.s + self.n, len(x)))
                x, positions, kept = x[rows], [positions[i] for i in rows], keep
                if first:
                    self.kept.append((layer, keep))
            if first:
                self.last[f"last.{layer}"] = x[-1]
            self.rows_by_layer.append(len(x))
            x, probabilities, _ = self.r.layer(layer, x, positions)
        if first:
            self.last[f"last.{self.layers}"] = x[-1]
        return x

    def choose_subject(self, first):
        if first:
            self.subject = self.top(self.attention, self.p["keep"], -1, "class-token attention", range(self.n))
        return self.subject

    def run_parvts(self, take, extra, first):
        subject = self.choose_subject(first)
        rest = [i for i in range(self.n) if i not in set(subject)]
        k, m = len(subject), self.m
        a, at = take(subject), self.positions(subject, extra)
        b = take(rest)[:self.n - k + self.s + m]
        bt = self.positions(rest, 0)
        for layer in range(self.layers):
            if layer == self.p["migrate"]:
                qa, qb = a[self.s + k:self.s + k + m], b[self.s + self.n - k:]
                if first:
                    self.weights = self.fusion(la, lb, k)
                    self.notes = dict(w=[float(w) for w in np.atleast_1d(self.weights)], mass=float(self.attention[subject].sum() / self.attention.sum()))
                    self.kept.append((layer, subject))
                w = np.broadcast_to(np.atleast_1d(self.weights), (m,))[:, None]
                a = a.copy()
                a[self.s + k:self.s + k + m] = self.r.r(w * qa + (1 - w) * qb)
                b = None
            if first:
                self.last[f"last.{layer}"] = a[-1]
                if b is not None:
                    self.last[f"last_b.{layer}"] = b[-1]
            a, _, la = self.r.layer(layer, a, at)
            if b is not None:
                b, _, lb = self.r.layer(layer, b, bt)
        if first:
            self.last[f"last.{self.layers}"] = a[-1]
        self.rows_by_layer = [self.s + self.n + 2 * m if l < self.p["migrate"] else self.s + k + m for l in range(self.layers)]
        return a

    def fusion(self, la, lb, k):
        fuse = self.p["fuse"]
        if fuse == "mean":
            return 0.5
        if fuse.startswith("w:"):
            return float(fuse[2:])
        if fuse == "mass":
            return self.attention[self.subject].sum() / self.attention.sum()

        def log_sum_exp(logits, first, count, visual):
            part = logits[:, first:first + count, self.s:self.s + visual]
            top = part.max(-1)
            return top + np.log(np.exp(part - top[..., None]).sum(-1))
        difference = log_sum_exp(la, self.s + k, self.m, k) - log_sum_exp(lb, self.s + self.n - k, self.m, self.n - k)
        return (1 / (1 + np.exp(-difference))).mean(0)

    def flops(self):
        t = self.r.text
        d, h, hd, f = t["hidden_size"], t["num_attention_heads"], t["head_dim"], t["intermediate_size"]
        result = []
        for layer, rows in enumerate(self.rows_by_layer):
            pairs = rows * (rows + 1) // 2
            if self.policy == "parvts" and layer < self.p["migrate"]:
                k = len(self.subject)
                one, other = self.s + k + self.m, self.n - k + self.m
                pairs = one * (one + 1) // 2 + other * (other + 1) // 2 + other * self.s
            result.append(2 * (rows * d * h * hd * 2 + rows * d * 2 * h * hd + rows * f * d * 3 + 2 * pairs * h * hd))
        return result

    def along(self, tokens):
        """Logits of each step where these tokens are fed."""
        rows, logits = np.zeros((0, self.rows.shape[1])), []
        for step, token in enumerate(tokens):
            logits.append(self.r.head(self.run(rows, step == 0)[-1]))
            rows = np.vstack([rows, self.r.w["language_model.model.embed_tokens.weight"][token]])
        return np.array(logits)

    def write(self, name, prompt_picture, narrow):
        embed = self.r.w["language_model.model.embed_tokens.weight"]
        logits, tokens, rows = [], [], np.zeros((0, self.rows.shape[1]))
        for step in range(STEPS):
            x = self.run(rows, step == 0)
            if step == 0:
                flops = self.flops()
                stored = [self.s + len(self.subject) + self.m] * self.layers if self.policy == "parvts" else list(self.rows_by_layer)
            logits.append(self.r.head(x[-1]))
            tokens.append(int(np.argmax(logits[-1])))
            rows = np.vstack([rows, embed[tokens[-1]]])
        tensors = {"logits": np.array(logits), **self.last}
        decisions = []
        for i, d in enumerate(self.decisions):
            tensors[f"scores.{i}"] = d.pop("values")
            tensors[f"ids.{i}"] = np.array(d.pop("ids"), dtype=np.int64)
            decisions.append(dict(d, scores=f"scores.{i}", ids=f"ids.{i}"))
        distance = float(np.abs(narrow.along(tokens) - np.array(logits)).max())
        value = ",".join(f"{key}={v}" for key, v in self.p.items())
        about = dict(
            method=self.policy, policy=self.policy + (":" + value if value else ""), model="../../demo-model/model",
            input_ids=self.ids, image=f"../../demo-model/eval/images/{prompt_picture:04}.png", prefix=self.s, patches=self.n, text=self.m,
            kept=[dict(layer=layer, count=len(v), visual="all" if len(v) == self.n else v) for layer, v in self.kept],
            kv_length=stored, tokens=tokens, flops=sum(flops), flops_layer=flops, notes=self.notes, decisions=decisions,
            bfloat16_run=dict(largest_logit_difference=round(distance, 4)))
        (OUT / f"{name}.json").write_text(json.dumps(about) + "\n")
        write_safetensors(OUT / f"{name}.safetensors", tensors)
        lead = min(float(np.sort(row)[-1] - np.sort(row)[-2]) for row in logits)
        print(name, about["policy"], "tokens", tokens, "lead %.3f" % lead, "gaps", ["%.1e" % d["gap"] for d in decisions],
              "bfloat16 %.4f" % distance)


def write_safetensors(path, tensors):
    header, body = {}, b""
    for name, value in tensors.items():
        value = np.asarray(value)
        data = value.astype("<i8" if value.dtype == np.int64 else "<f4").tobytes()
        header[name] = dict(dtype="I64" if value.dtype == np.int64 else "F32", shape=list(value.shape), data_offsets=[len(body), len(body) + len(data)])
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    reference, narrow, count = Reference(), BFloat16(), {}
    for policy, parameters, prompt, picture in CASES:
        count[policy] = count.get(policy, 0) + 1
        bfloat16 = Case(narrow, policy, parameters, prompt, picture)
        Case(reference, policy, parameters, prompt, picture).write(f"{policy}-{count[policy]}", picture, bfloat16)


if __name__ == "__main__":
    main()
