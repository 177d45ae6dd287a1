"""Trains the demo model: a small LLaVA (CLIP vision tower, two-layer projector, Llama decoder) on scenes.py.

Every tensor has the name, shape and meaning that LLaVA-1.5 checkpoints use, so whatever loads this model
loads the real ones. Usage: train.py OUT_DIR MINUTES [--vision MINUTES | --from-vision CKPT] [--resume CKPT]
"""
import json
import math
import os
import random
import sys
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import scenes
from toytok import Tokenizer

V = dict(hidden_size=192, intermediate_size=768, num_hidden_layers=5, num_attention_heads=3, image_size=168,
         patch_size=14, layer_norm_eps=1e-5)
T = dict(hidden_size=192, intermediate_size=512, num_hidden_layers=8, num_attention_heads=3, num_key_value_heads=3,
         rms_norm_eps=1e-5, rope_theta=10000.0)
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)
QA = 12
BATCH = 32
TEXT = 144  # text tokens of one packed example; a fixed length lets torch.compile make one program


class Attn(nn.Module):
    def __init__(s, d, h, bias, out):
        super().__init__()
        s.h = h
        s.q_proj, s.k_proj, s.v_proj = (nn.Linear(d, d, bias=bias) for _ in range(3))
        setattr(s, out, nn.Linear(d, d, bias=bias))
        s.out = out

    def forward(s, x, mask=None, rope=None):
        b, n, d = x.shape
        q, k, v = (p(x).view(b, n, s.h, d // s.h).transpose(1, 2) for p in (s.q_proj, s.k_proj, s.v_proj))
        if rope is not None:
            q, k = rotate(q, *rope), rotate(k, *rope)
        a = q @ k.transpose(-1, -2) * (1 / math.sqrt(d // s.h))
        if mask is not None:
            a = a.masked_fill(~mask, -1e4)
        o = a.softmax(-1).to(v.dtype) @ v
        return getattr(s, s.out)(o.transpose(1, 2).reshape(b, n, d))


def rotate(x, cos, sin):
    h = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., h:], x[..., :h]], -1) * sin


class ClipLayer(nn.Module):
    def __init__(s):
        super().__init__()
        d, m = V["hidden_size"], V["intermediate_size"]
        s.layer_norm1, s.layer_norm2 = nn.LayerNorm(d, V["layer_norm_eps"]), nn.LayerNorm(d, V["layer_norm_eps"])
        s.self_attn = Attn(d, V["num_attention_heads"], True, "out_proj")
        s.mlp = nn.ModuleDict(dict(fc1=nn.Linear(d, m), fc2=nn.Linear(m, d)))

    def forward(s, x):
        x = x + s.self_attn(s.layer_norm1(x))
        y = s.mlp["fc1"](s.layer_norm2(x))
        return x + s.mlp["fc2"](y * torch.sigmoid(1.702 * y))


class Clip(nn.Module):
    def __init__(s):
        super().__init__()
        d, p = V["hidden_size"], V["patch_size"]
        n = (V["image_size"] // p) ** 2
        s.class_embedding = nn.Parameter(torch.randn(d) * 0.02)
        s.patch_embedding = nn.Conv2d(3, d, p, p, bias=False)
        s.position_embedding = nn.Embedding(n + 1, d)
        s.pre_layrnorm, s.post_layernorm = nn.LayerNorm(d, V["layer_norm_eps"]), nn.LayerNorm(d, V["layer_norm_eps"])
        s.layers = nn.ModuleList(ClipLayer() for _ in range(V["num_hidden_layers"]))

    def forward(s, pix):
        x = s.patch_embedding(pix).flatten(2).transpose(1, 2)
        x = torch.cat([s.class_embedding.expand(x.shape[0], 1, -1), x], 1) + s.position_embedding.weight
        x = s.pre_layrnorm(x)
        for i, layer in enumerate(s.layers):
            if i == len(s.layers) - 1:
                feats, early = x[:, 1:], x[:, 0]  # vision_feature_layer -2, select strategy 'default': without the class token
            x = layer(x)
        return feats, torch.stack([early, s.post_layernorm(x[:, 0])])


class Norm(nn.Module):
    def __init__(s, d):
        super().__init__()
        s.weight = nn.Parameter(torch.ones(d))

    def forward(s, x):
        return s.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + T["rms_norm_eps"]))


class LlamaLayer(nn.Module):
    def __init__(s):
        super().__init__()
        d, m = T["hidden_size"], T["intermediate_size"]
        s.input_layernorm, s.post_attention_layernorm = Norm(d), Norm(d)
        s.self_attn = Attn(d, T["num_attention_heads"], False, "o_proj")
        s.mlp = nn.ModuleDict(dict(gate_proj=nn.Linear(d, m, bias=False), up_proj=nn.Linear(d, m, bias=False),
                                   down_proj=nn.Linear(m, d, bias=False)))

    def forward(s, x, mask, rope):
        x = x + s.self_attn(s.input_layernorm(x), mask, rope)
        y = s.post_attention_layernorm(x)
        return x + s.mlp["down_proj"](F.silu(s.mlp["gate_proj"](y)) * s.mlp["up_proj"](y))


class Llava(nn.Module):
    def __init__(s, vocab):
        super().__init__()
        d, v = T["hidden_size"], V["hidden_size"]
        s.vision = Clip()
        s.linear_1, s.linear_2 = nn.Linear(v, d), nn.Linear(d, d)
        s.embed_tokens = nn.Embedding(vocab, d)
        s.layers = nn.ModuleList(LlamaLayer() for _ in range(T["num_hidden_layers"]))
        s.norm = Norm(d)
        s.lm_head = nn.Linear(d, vocab, bias=False)
        # two tasks of the vision tower's own, not shipped: the class token says what the scene holds, each patch what it shows
        s.aux = nn.Linear(v, len(scenes.COLORS) + len(scenes.SHAPES) + 48)
        s.aux_patch = nn.Linear(v, len(scenes.COLORS) + len(scenes.SHAPES) + 1)
        for n, p in s.named_parameters():
            if p.dim() >= 2:
                nn.init.normal_(p, std=0.02)
        nn.init.normal_(s.vision.patch_embedding.weight, std=0.03)

    def forward(s, pix, ids, img_at, pos, mask, keep=None):
        feats, cls = s.vision(pix)
        vis = s.linear_2(F.gelu(s.linear_1(feats)))
        x = s.embed_tokens(ids)
        x = torch.cat([x[:, :img_at], vis, x[:, img_at:]], 1)
        hd = T["hidden_size"] // T["num_attention_heads"]
        inv = 1.0 / (T["rope_theta"] ** (torch.arange(0, hd, 2).float() / hd))
        ang = pos[..., None].float() * inv
        ang = torch.cat([ang, ang], -1)[:, None]
        rope = (ang.cos().to(vis.dtype), ang.sin().to(vis.dtype))
        for layer in s.layers:
            x = layer(x, mask, rope)
        x = s.norm(x)
        return s.lm_head(x if keep is None else x[keep]), s.aux(cls), s.aux_patch(feats)

    def see(s, pix):
        feats, cls = s.vision(pix)
        return s.aux(cls), s.aux_patch(feats)


def pack(tok, rng):
    """One scene with QA questions behind it; each question sees the image and itself, and nothing of the others."""
    img, desc = scenes.scene(rng)
    head, tail = tok.prompt_ids()
    n_img = (V["image_size"] // V["patch_size"]) ** 2
    ids, pos, block, target = list(head), list(range(len(head))), [0] * len(head), [-100] * len(head)
    first = len(head) + n_img
    for b, (q, a, _) in enumerate(scenes.questions(rng, desc, QA), 1):
        qi = tok.question_ids(q)
        ai = tok.answer_ids(a)
        seq = qi + ai
        if len(ids) + len(seq) > TEXT:
            break
        ids += seq
        pos += range(first, first + len(seq))
        block += [b] * len(seq)
        target += [-100] * (len(qi) - 1) + ai + [-100]
    return np.asarray(img, np.uint8), ids, pos, block, target, *aux_targets(desc)


def batch(tok, rng, size):
    rows = [pack(tok, rng) for _ in range(size)]
    head = len(tok.prompt_ids()[0])
    n_img = (V["image_size"] // V["patch_size"]) ** 2
    n = TEXT
    ids = torch.zeros(size, n, dtype=torch.long)
    target = torch.full((size, n), -100)
    pos = torch.zeros(size, n + n_img, dtype=torch.long)
    block = torch.full((size, n + n_img), -1)
    for i, (_, a, p, b, t, *_) in enumerate(rows):
        ids[i, :len(a)] = torch.tensor(a)
        target[i, :len(a)] = torch.tensor(t)
        full = p[:head] + list(range(head, head + n_img)) + p[head:]
        pos[i, :len(full)] = torch.tensor(full)
        block[i, :len(full)] = torch.tensor(b[:head] + [0] * n_img + b[head:])
    order = torch.arange(n + n_img)
    see = (order[None, :, None] >= order[None, None, :]) & ((block[:, None, :] == 0) | (block[:, :, None] == block[:, None, :]))
    mask = see[:, None]
    pix = pixels([r[0] for r in rows])
    aux = torch.from_numpy(np.stack([r[5] for r in rows]))
    full_target = torch.cat([target[:, :head], torch.full((size, n_img), -100), target[:, head:]], 1)
    color, shape = (torch.from_numpy(np.stack([r[k] for r in rows])) for k in (6, 7))
    return pix, ids, head, pos, mask, full_target, aux, color, shape


def aux_targets(desc):
    aux = np.zeros(len(scenes.COLORS) + len(scenes.SHAPES) + 48, np.float32)
    for o in desc["objects"]:
        c, sh = list(scenes.COLORS).index(o["color"]), scenes.SHAPES.index(o["shape"])
        aux[c] = aux[8 + sh] = aux[14 + c * 6 + sh] = 1
    centre = np.arange(V["image_size"] // V["patch_size"]) * V["patch_size"] + V["patch_size"] / 2
    color = np.full((len(centre), len(centre)), list(scenes.COLORS).index(desc["background"]))
    shape = np.full_like(color, len(scenes.SHAPES))
    for o in desc["objects"]:
        inside = (centre[None, :] - o["x"]) ** 2 + (centre[:, None] - o["y"]) ** 2 < (0.85 * o["r"]) ** 2
        color[inside], shape[inside] = list(scenes.COLORS).index(o["color"]), scenes.SHAPES.index(o["shape"])
    return aux, color.ravel(), shape.ravel()


def pixels(images):
    pix = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    return (pix - MEAN) / STD


def vision_batch(tok, rng, size):
    drawn = [scenes.scene(rng) for _ in range(size)]
    aux, color, shape = (torch.from_numpy(np.stack(a)) for a in zip(*(aux_targets(d) for _, d in drawn)))
    return pixels([np.asarray(i, np.uint8) for i, _ in drawn]), aux, color, shape


def vision_loss(cls, patch, aux, color, shape):
    n_c = len(scenes.COLORS)
    patch = patch.float().flatten(0, 1)
    return (F.binary_cross_entropy_with_logits(cls.float(), aux.expand_as(cls)) + F.cross_entropy(patch[:, :n_c], color.flatten())
            + F.cross_entropy(patch[:, n_c:], shape.flatten()))


class Feed(torch.utils.data.IterableDataset):
    def __init__(s, make, tok, seed, size):
        s.make, s.tok, s.seed, s.size = make, tok, seed, size

    def __iter__(s):
        rng = random.Random(s.seed)
        while True:
            yield s.make(s.tok, rng, s.size)

    @staticmethod
    def of(make, tok, seed, size):
        return iter(torch.utils.data.DataLoader(Feed(make, tok, seed, size), batch_size=None, num_workers=1, prefetch_factor=4))


def cosine(done, step, peak, floor=3e-5, warm=300):
    return peak * min(1, (step + 1) / warm) * (floor / peak + (1 - floor / peak) * 0.5 * (1 + math.cos(math.pi * min(1, done))))


def train_vision(m, tok, minutes, out):
    """The tower alone first, on its own two tasks: a tenth of a joint step's cost."""
    params = list(m.vision.parameters()) + list(m.aux.parameters()) + list(m.aux_patch.parameters())
    opt = torch.optim.AdamW(params, lr=1.0, betas=(0.9, 0.98), weight_decay=0.01)
    feed, see = Feed.of(vision_batch, tok, 77, 64), torch.compile(m.see)
    start, step, total = time.time(), 0, 0.0
    while (t := (time.time() - start) / 60) < minutes:
        for g in opt.param_groups:
            g["lr"] = cosine(t / minutes, step, 1.5e-3)
        pix, aux, color, shape = next(feed)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            cls, patch = see(pix)
        loss = vision_loss(cls, patch, aux, color, shape)
        opt.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        step, total = step + 1, total + loss.item()
        if step % 100 == 0:
            on = shape.flatten() < len(scenes.SHAPES)
            right = (patch.flatten(0, 1)[:, len(scenes.COLORS):].argmax(-1) == shape.flatten())[on].float().mean()
            print(f"vision step {step} min {t:.1f} loss {total / 100:.4f} shape {right:.3f} img/s {64 * step / (time.time() - start):.0f}", flush=True)
            total = 0.0
    torch.save(dict(model=m.state_dict()), out + "/vision.pt")


def hf_names(m):
    out = {}
    for k, v in m.state_dict().items():
        if k.startswith("aux"):
            continue
        if k.startswith("vision."):
            k = k[7:]
            if k.startswith("layers."):
                k = "encoder." + k
            elif k.split(".")[0] in ("class_embedding", "patch_embedding", "position_embedding"):
                k = "embeddings." + k
            k = "vision_tower.vision_model." + k
        elif k.startswith("linear_"):
            k = "multi_modal_projector." + k
        elif k.startswith("lm_head"):
            k = "language_model." + k
        else:
            k = "language_model.model." + k
        out[k] = v
    return out


@torch.no_grad()
def evaluate(m, tok, n=40, seed=10 ** 6):
    m.eval()
    rng = random.Random(seed)
    right = total = 0
    for _ in range(n // 8):
        pix, ids, head, pos, mask, target, *_ = batch(tok, rng, 8)
        logits, *_ = m(pix, ids, head, pos, mask)
        got = logits.argmax(-1)
        ok = (got == target) | (target == -100)
        # an answer is right when each of its tokens, the end included, is right
        for i in range(8):
            t = (target[i] != -100).nonzero().flatten().tolist()
            runs, run = [], []
            for j in t:
                if run and j != run[-1] + 1:
                    runs.append(run)
                    run = []
                run.append(j)
            runs.append(run)
            for r in runs:
                total += 1
                right += bool(ok[i, r].all())
    m.train()
    return right / total


def main():
    out, minutes = sys.argv[1], float(sys.argv[2])
    os.makedirs(out, exist_ok=True)
    torch.manual_seed(1)
    torch.set_num_threads(2)
    tok = Tokenizer.load_or_make()
    m = Llava(tok.size)
    fast = torch.compile(m)
    opt = torch.optim.AdamW(m.parameters(), lr=1.0, betas=(0.9, 0.98), weight_decay=0.01)
    step, done = 0, 0.0
    if "--resume" in sys.argv:
        c = torch.load(sys.argv[sys.argv.index("--resume") + 1])
        m.load_state_dict(c["model"]); opt.load_state_dict(c["opt"]); step = c["step"]; done = c.get("minutes", 0.0)
    print("parameters", sum(p.numel() for p in m.parameters()), "vocab", tok.size, flush=True)
    if "--vision" in sys.argv:
        train_vision(m, tok, float(sys.argv[sys.argv.index("--vision") + 1]), out)
    if "--from-vision" in sys.argv:
        m.load_state_dict(torch.load(sys.argv[sys.argv.index("--from-vision") + 1])["model"])
    feed = Feed.of(batch, tok, 1234 + step, BATCH)
    start = last = time.time()
    seen = loss_sum = n_sum = 0
    while True:
        t = (time.time() - start) / 60
        if t > minutes:
            break
        lr = cosine(t / minutes, step, 1e-3 if "--resume" not in sys.argv else 5e-4)
        for g in opt.param_groups:
            g["lr"] = lr
        pix, ids, head, pos, mask, target, aux, color, shape = next(feed)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits, cls, patch = fast(pix, ids, head, pos, mask)
        loss = F.cross_entropy(logits.float().flatten(0, 1), target.flatten())
        total = loss + 0.5 * vision_loss(cls, patch, aux, color, shape)
        opt.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        opt.step()
        step += 1
        loss_sum += loss.item(); n_sum += 1
        if step % 50 == 0 or step < 6:
            print(f"step {step} min {t:.1f} loss {loss_sum / n_sum:.4f} lr {lr:.2e} img/s {BATCH * n_sum / (time.time() - last):.1f}", flush=True)
            last = time.time(); loss_sum = n_sum = 0
        if step % 500 == 0:
            print(f"  accuracy {evaluate(m, tok, 80):.3f}", flush=True)
            last = time.time()
            torch.save(dict(model=m.state_dict(), opt=opt.state_dict(), step=step, minutes=done + t), out + "/ckpt.pt")
    torch.save(dict(model=m.state_dict(), opt=opt.state_dict(), step=step), out + "/ckpt.pt")
    print("final accuracy", evaluate(m, tok, 400), flush=True)


if __name__ == "__main__":
    main()
