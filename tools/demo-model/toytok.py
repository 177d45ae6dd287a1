"""A byte-fallback BPE tokenizer in the Llama form (tokenizer.json), its merges learned from the demo's own sentences."""
import collections
import json
import os
import random

import scenes

# The committed model's tokenizer.json is used where it is; without it the same one is learned again.
MODEL = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/data/demo-model/model"))
FIRST = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
MARK = "\u2581"


def corpus():
    rng = random.Random(7)
    lines = []
    for _ in range(1500):
        _, d = scenes.scene(rng)
        for q, a, _ in scenes.questions(rng, d, 2):
            lines.append(f"USER: \n{q} ASSISTANT: {a}")
    lines += ["A chat between a curious human and an artificial intelligence assistant."] * 40
    return lines


def words(text):
    """Llama's normaliser (a mark in front, spaces to marks); merges never cross a mark that starts a word."""
    text = MARK + text.replace(" ", MARK)
    out, cur = [], ""
    for ch in text:
        if ch == MARK and cur and not set(cur) <= {MARK}:
            out.append(cur)
            cur = ""
        cur += ch
    return out + [cur] if cur else out


def learn(lines, n_merges):
    counts = collections.Counter(w for l in lines for w in words(l))
    chars = sorted({c for w in counts for c in w if c != "\n"})
    chars = sorted(set(chars) | set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,?!:;'-()\"/") | {MARK})
    splits = {w: list(w) for w in counts}
    merges = []
    while len(merges) < n_merges:
        pairs = collections.Counter()
        for w, n in counts.items():
            s = splits[w]
            for a, b in zip(s, s[1:]):
                if "\n" not in a + b:
                    pairs[(a, b)] += n
        if not pairs:
            break
        (a, b), n = max(pairs.items(), key=lambda kv: (kv[1], kv[0]))
        if n < 2:
            break
        merges.append((a, b))
        for w in splits:
            s, i, o = splits[w], 0, []
            while i < len(s):
                if i + 1 < len(s) and (s[i], s[i + 1]) == (a, b):
                    o.append(a + b)
                    i += 2
                else:
                    o.append(s[i])
                    i += 1
            splits[w] = o
    vocab = FIRST + chars
    for a, b in merges:
        if a + b not in vocab:
            vocab.append(a + b)
    vocab.append("<image>")
    return vocab, merges


class Tokenizer:
    def __init__(self, vocab, merges):
        self.vocab = {t: i for i, t in enumerate(vocab)}
        self.rank = {tuple(m): i for i, m in enumerate(merges)}
        self.size = (len(vocab) + 63) // 64 * 64
        self.image = self.vocab["<image>"]

    def encode(self, text, prefix=True):
        text = (MARK if prefix else "") + text.replace(" ", MARK)
        s = list(text)
        while True:
            best = min(((self.rank.get((a, b), 1 << 30), i) for i, (a, b) in enumerate(zip(s, s[1:]))), default=(1 << 30, 0))
            if best[0] == 1 << 30:
                break
            i = best[1]
            s[i:i + 2] = [s[i] + s[i + 1]]
        ids = []
        for t in s:
            ids += [self.vocab[t]] if t in self.vocab else [self.vocab[f"<0x{b:02X}>"] for b in t.encode()]
        return ids

    # "USER: <image>\n{question} ASSISTANT: {answer}</s>"; the text on either side of <image> is encoded on its own and
    # gets the mark in front, as Hugging Face's tokenizers do around an added token (checked: same ids).
    def prompt_ids(self):
        return [1] + self.encode("USER: "), []

    def question_ids(self, q):
        return self.encode(f"\n{q} ASSISTANT:")

    def answer_ids(self, a):
        return self.encode(f" {a}", prefix=False) + [2]

    @staticmethod
    def load_or_make(folder=MODEL):
        path = os.path.join(folder, "tokenizer.json")
        if not os.path.exists(path):
            vocab, merges = learn(corpus(), 420)
            added = [dict(id=i, content=t, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
                     for i, t in enumerate(vocab) if t in ("<unk>", "<s>", "</s>", "<image>")]
            doc = dict(version="1.0", truncation=None, padding=None, added_tokens=added,
                       normalizer=dict(type="Sequence", normalizers=[
                           dict(type="Prepend", prepend=MARK),
                           dict(type="Replace", pattern=dict(String=" "), content=MARK)]),
                       pre_tokenizer=None,
                       post_processor=dict(type="TemplateProcessing",
                                           single=[dict(SpecialToken=dict(id="<s>", type_id=0)), dict(Sequence=dict(id="A", type_id=0))],
                                           pair=[dict(SpecialToken=dict(id="<s>", type_id=0)), dict(Sequence=dict(id="A", type_id=0)),
                                                 dict(SpecialToken=dict(id="<s>", type_id=1)), dict(Sequence=dict(id="B", type_id=1))],
                                           special_tokens={"<s>": dict(id="<s>", ids=[1], tokens=["<s>"])}),
                       decoder=dict(type="Sequence", decoders=[
                           dict(type="Replace", pattern=dict(String=MARK), content=" "), dict(type="ByteFallback"),
                           dict(type="Fuse"), dict(type="Strip", content=" ", start=1, stop=0)]),
                       model=dict(type="BPE", dropout=None, unk_token="<unk>", continuing_subword_prefix=None,
                                  end_of_word_suffix=None, fuse_unk=True, byte_fallback=True, ignore_merges=False,
                                  vocab={t: i for i, t in enumerate(vocab)}, merges=[f"{a} {b}" for a, b in merges]))
            os.makedirs(folder, exist_ok=True)
            with open(path, "w") as f:
                json.dump(doc, f, ensure_ascii=False, indent=1)
        doc = json.load(open(path))
        vocab = sorted(doc["model"]["vocab"], key=doc["model"]["vocab"].get)
        return Tokenizer(vocab, [tuple(m.split(" ")) for m in doc["model"]["merges"]])
