"""Writes a trained checkpoint as a Hugging Face LLaVA folder, checks it with transformers, and draws an evaluation set.

Usage: export.py CKPT OUT_DIR                the model folder (bf16 safetensors, public LLaVA-1.5 tensor names)
       export.py --eval MODEL_DIR OUT_DIR SEED N   N scenes with questions (PNG + eval.jsonl), answered by transformers too
"""
import collections
import json
import os
import random
import shutil
import sys

import torch
from safetensors.torch import save_file

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import scenes

TEMPLATE = ("{% for message in messages %}{% if message['role'] == 'user' %}USER: {% else %}ASSISTANT: {% endif %}"
            "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
            "{% if not loop.last %} {% endif %}{% endfor %}{% if add_generation_prompt %} ASSISTANT:{% endif %}")


def dump(path, doc):
    with open(path, "w") as f:
        json.dump(doc, f, indent=2, ensure_ascii=False)
        f.write("\n")


def export(ckpt, out):
    import train
    from toytok import MODEL, Tokenizer
    os.makedirs(out, exist_ok=True)
    tok = Tokenizer.load_or_make()
    m = train.Llava(tok.size)
    m.load_state_dict(torch.load(ckpt, weights_only=True)["model"])
    save_file({k: v.to(torch.bfloat16).contiguous() for k, v in train.hf_names(m).items()}, out + "/model.safetensors",
              metadata={"format": "pt"})
    text = dict(model_type="llama", architectures=["LlamaForCausalLM"], vocab_size=tok.size, hidden_act="silu", bos_token_id=1,
                eos_token_id=2, pad_token_id=0, max_position_embeddings=2048, tie_word_embeddings=False, head_dim=64, **train.T)
    vision = dict(model_type="clip_vision_model", hidden_act="quick_gelu", num_channels=3, projection_dim=128, **train.V)
    dump(out + "/config.json", dict(
        architectures=["LlavaForConditionalGeneration"], model_type="llava", ignore_index=-100, image_token_index=tok.image,
        projector_hidden_act="gelu", vision_feature_layer=-2, vision_feature_select_strategy="default", torch_dtype="bfloat16",
        tie_word_embeddings=False, text_config=text, vision_config=vision))
    dump(out + "/generation_config.json", dict(bos_token_id=1, eos_token_id=2, pad_token_id=0))
    size = train.V["image_size"]
    dump(out + "/preprocessor_config.json", dict(
        image_processor_type="CLIPImageProcessor", processor_class="LlavaProcessor", do_convert_rgb=True, do_resize=True,
        size=dict(shortest_edge=size), resample=3, do_center_crop=True, crop_size=dict(height=size, width=size), do_rescale=True,
        rescale_factor=1 / 255, do_normalize=True, image_mean=train.MEAN.flatten().tolist(), image_std=train.STD.flatten().tolist()))
    dump(out + "/processor_config.json", dict(processor_class="LlavaProcessor", patch_size=train.V["patch_size"],
                                              vision_feature_select_strategy="default", image_token="<image>",
                                              num_additional_image_tokens=1))
    dump(out + "/tokenizer_config.json", dict(
        tokenizer_class="LlamaTokenizer", legacy=True, add_bos_token=True, add_eos_token=False, bos_token="<s>", eos_token="</s>",
        unk_token="<unk>", pad_token="<unk>", clean_up_tokenization_spaces=False, model_max_length=2048, chat_template=TEMPLATE))
    if os.path.abspath(out) != MODEL:
        shutil.copy(MODEL + "/tokenizer.json", out + "/tokenizer.json")


@torch.no_grad()
def evaluation(model_dir, out, seed, n, per_scene=4):
    from tokenizers import Tokenizer
    from transformers import CLIPImageProcessor, LlavaForConditionalGeneration
    os.makedirs(out + "/images", exist_ok=True)
    torch.set_num_threads(1)
    tok = Tokenizer.from_file(model_dir + "/tokenizer.json")
    m = LlavaForConditionalGeneration.from_pretrained(model_dir, torch_dtype=torch.float32, attn_implementation="eager")
    pre = CLIPImageProcessor.from_pretrained(model_dir)
    n_img = (m.config.vision_config.image_size // m.config.vision_config.patch_size) ** 2
    rng = random.Random(seed)
    right, total = collections.Counter(), collections.Counter()
    with open(out + "/eval.jsonl", "w") as f:
        for k in range(n):
            img, desc = scenes.scene(rng)
            name = f"images/{k:04d}.png"
            img.save(f"{out}/{name}", optimize=True)
            pix = pre(images=img, return_tensors="pt")["pixel_values"]
            for q, a, kind in scenes.questions(rng, desc, per_scene):
                ids = tok.encode(f"USER: <image>\n{q} ASSISTANT:").ids
                at = ids.index(m.config.image_token_index)
                ids = torch.tensor([ids[:at] + [ids[at]] * n_img + ids[at + 1:]])
                got = m.generate(input_ids=ids, pixel_values=pix, attention_mask=torch.ones_like(ids), do_sample=False,
                                 max_new_tokens=8)[0, ids.shape[1]:].tolist()
                said = tok.decode(got).strip()
                total[kind] += 1
                right[kind] += said == a
                f.write(json.dumps(dict(image=name, question=q, answer=a, kind=kind, reference_tokens=got, reference_text=said)) + "\n")
    score = {k: round(right[k] / total[k], 3) for k in sorted(total)}
    score["all"] = round(sum(right.values()) / sum(total.values()), 3)
    dump(out + "/reference.json", dict(made_by="transformers, float32, greedy, at most 8 new tokens", seed=seed, scenes=n,
                                       questions=sum(total.values()), accuracy=score))
    print(score)


if __name__ == "__main__":
    if sys.argv[1] == "--eval":
        evaluation(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    else:
        export(sys.argv[1], sys.argv[2])
