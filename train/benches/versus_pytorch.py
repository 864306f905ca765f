#!/usr/bin/env python3
"""Our training step beside the same step in plain PyTorch: same model, weights, batch, precision, losses and optimiser.

    python train/benches/versus_pytorch.py target/release/lcl-train --model tiny --batch 32 --device libtorch-cpu
    python train/benches/versus_pytorch.py target/release/lcl-train --model lcl_vit_b_32_mmc4 --batch 32 --packed \
        --device cuda:0 --precision bfloat16 --compile

The model is written as one would write it today: fused attention (by segments with variable lengths on a GPU), packed
projections, autocast, fused AdamW with two groups, clipping to norm 1, the loss read a step late; all logits at once,
which takes most of its memory and is how people write it. The first step of both has weights that need no random
generator; if its losses differ, nothing is compared. Each side runs in processes of its own, in turn; medians of all
rounds are compared. Needs numpy and the torch that lcl-train was built with.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

PRESETS = {
    # edge, patch, vision (width, layers, heads), context, text (width, layers, heads)
    "tiny": (64, 8, 192, 6, 3, 256, 192, 6, 3),
    "lcl_vit_b_32_mmc4": (224, 32, 768, 12, 12, 2048, 512, 12, 8),
    "lcl_vit_b_32_laion": (224, 32, 768, 12, 12, 128, 512, 12, 8),
    "lcl_vit_b_16_laion": (224, 16, 768, 12, 12, 280, 768, 12, 12),
    "lcl_vit_l_14": (224, 14, 1024, 24, 16, 2048, 768, 12, 12),
}
VOCABULARY, BOS, SLOT, EOI = 49_411, 49_406, 49_408, 49_410
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
WARM_UP = 3


def read_safetensors(path):
    kinds = {"U8": np.uint8, "U32": np.uint32}
    with open(path, "rb") as file:
        content = file.read()
    length = int.from_bytes(content[:8], "little")
    header, body = json.loads(content[8 : 8 + length]), content[8 + length :]
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            found[name] = np.frombuffer(body[start:end], kinds[entry["dtype"]]).reshape(entry["shape"])
    return found


def units(name, count):
    """`count` numbers in [-1, 1), keyed by `name`: FNV-1a, then SplitMix64."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 2**24 * 2 - 1


def fixed(name, shape):
    u = units(name, math.prod(shape))
    leaf = name.rsplit(".", 1)[-1]
    if name == "logit_scale":
        return np.full((), math.log(1 / 0.07))
    if leaf in ("positional_embedding", "class_embedding") or name.endswith("token_embedding.weight"):
        value = 0.5 * u
    elif leaf == "query_token":
        value = u
    elif len(shape) >= 2:
        value = u / math.sqrt(math.prod(shape[1:]))
    elif leaf == "weight":
        value = 1 + 0.1 * u
    else:
        value = 0.02 * u
    return value.reshape(shape)


def build(preset):
    """The model as a module whose tensors have the published names."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    edge, patch, vision_width, vision_layers, vision_heads, context, width, layers, heads = PRESETS[preset]
    patches = (edge // patch) ** 2

    class LayerNorm(nn.LayerNorm):
        """In float32 under autocast, back to the type of the residual stream."""

        def forward(self, x):
            return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps).to(x.dtype)

    class Attention(nn.Module):
        def __init__(self, width, heads):
            super().__init__()
            self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
            self.in_proj_bias = nn.Parameter(torch.empty(3 * width))
            self.out_proj = nn.Linear(width, width)
            self.heads = heads

        def forward(self, x, reach):
            rows, tokens, width = x.shape
            packed = F.linear(x, self.in_proj_weight, self.in_proj_bias)
            packed = packed.view(rows, tokens, 3, self.heads, width // self.heads)
            if reach[0] == "segments":
                from torch.nn.attention.varlen import varlen_attn

                q, k, v = packed.flatten(0, 1).unbind(1)
                _, starts, longest = reach
                mixed = varlen_attn(q, k, v, starts, starts, longest, longest, window_size=(-1, 0))
                return self.out_proj(mixed.reshape(rows, tokens, width))
            q, k, v = packed.permute(2, 0, 3, 1, 4).unbind(0)
            if reach[0] == "mask":
                mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=reach[1])
            else:
                mixed = F.scaled_dot_product_attention(q, k, v, is_causal=reach[0] == "causal")
            return self.out_proj(mixed.transpose(1, 2).reshape(rows, tokens, width))

    class Mlp(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.c_fc, self.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            return self.c_proj(F.gelu(self.c_fc(x)))

    class Block(nn.Module):
        def __init__(self, width, heads):
            super().__init__()
            self.ln_1, self.attn = LayerNorm(width), Attention(width, heads)
            self.ln_2, self.mlp = LayerNorm(width), Mlp(width)

        def forward(self, x, reach):
            x = x + self.attn(self.ln_1(x), reach)
            return x + self.mlp(self.ln_2(x))

    class Transformer(nn.Module):
        def __init__(self, width, layers, heads):
            super().__init__()
            self.resblocks = nn.ModuleList(Block(width, heads) for _ in range(layers))

        def forward(self, x, reach):
            for block in self.resblocks:
                x = block(x, reach)
            return x

    class Vision(nn.Module):
        def __init__(self):
            super().__init__()
            self.class_embedding = nn.Parameter(torch.empty(vision_width))
            self.positional_embedding = nn.Parameter(torch.empty(patches + 1, vision_width))
            self.conv1 = nn.Conv2d(3, vision_width, patch, patch, bias=False)
            self.ln_pre, self.ln_post = LayerNorm(vision_width), LayerNorm(vision_width)
            self.transformer = Transformer(vision_width, vision_layers, vision_heads)

        def forward(self, pixels):
            x = self.conv1(pixels).flatten(2).transpose(1, 2)
            token = self.class_embedding.to(x.dtype).expand(len(x), 1, -1)
            x = torch.cat([token, x], 1) + self.positional_embedding.to(x.dtype)
            return self.ln_post(self.transformer(self.ln_pre(x), ("all",))[:, 1:])

    class Language(nn.Module):
        def __init__(self):
            super().__init__()
            self.positional_embedding = nn.Parameter(torch.empty(context, width))
            self.text_projection = nn.Parameter(torch.empty(width, width))
            self.token_embedding = nn.Embedding(VOCABULARY, width)
            self.transformer, self.ln_final = Transformer(width, layers, heads), LayerNorm(width)

    class Weight(nn.Module):
        def __init__(self, *shape):
            super().__init__()
            self.weight = nn.Parameter(torch.empty(*shape))

    class CrossAttention(nn.Module):
        def __init__(self):
            super().__init__()
            for name in "qkv":
                setattr(self, name, Weight(width, vision_width))
                setattr(self, f"{name}_bias", nn.Parameter(torch.empty(width)))
            self.proj = nn.Linear(width, width, bias=False)

    class Pooler(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1_q, self.norm1_k, self.norm1_v = (LayerNorm(vision_width) for _ in range(3))
            self.cross_attn = CrossAttention()

    class Pool(nn.Module):
        def __init__(self):
            super().__init__()
            self.query_token, self.pooler = nn.Parameter(torch.empty(1, 1, vision_width)), Pooler()

        def forward(self, x):
            p, c = self.pooler, self.pooler.cross_attn
            q = F.linear(p.norm1_q(self.query_token), c.q.weight, c.q_bias).expand(len(x), 1, width)
            k = F.linear(p.norm1_k(x), c.k.weight, c.k_bias)
            v = F.linear(p.norm1_v(x), c.v.weight, c.v_bias)
            split = lambda x: x.unflatten(-1, (heads, width // heads)).transpose(1, 2)
            mixed = F.scaled_dot_product_attention(split(q), split(k), split(v))
            pooled = c.proj(mixed.transpose(1, 2).flatten(2))
            return pooled[:, 0].float(), c.proj(v).float()

    class Lcl(nn.Module):
        def __init__(self):
            super().__init__()
            self.logit_scale = nn.Parameter(torch.empty(()))
            self.visual, self.text, self.pool_project = Vision(), Language(), Pool()
            self.lm_head = nn.Sequential(LayerNorm(width), nn.Linear(width, VOCABULARY, bias=False))

        def forward(self, batch):
            pooled, visual = self.pool_project(self.visual(batch["pixels"]))
            x = torch.cat([self.text.token_embedding(batch["text"]), visual.reshape(-1, width)])
            x = x.index_select(0, batch["order"]).view(*batch["positions"].shape, width)
            x = x + F.embedding(batch["positions"], self.text.positional_embedding)
            hidden = self.text.transformer(x, batch["reach"]).flatten(0, 1)

            texts = self.text.ln_final(hidden.index_select(0, batch["bois"])) @ self.text.text_projection
            images = pooled.index_select(0, batch["paired"])
            texts, images = F.normalize(texts.float(), dim=-1), F.normalize(images, dim=-1)
            with torch.autocast(hidden.device.type, enabled=False):
                logits = self.logit_scale.exp() * images @ texts.T
                labels = torch.arange(len(logits), device=logits.device)
                contrastive = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
            predicted = self.lm_head(hidden.index_select(0, batch["sources"]))
            generation = F.cross_entropy(predicted.float(), batch["targets"])
            return contrastive, generation

    model = Lcl()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(fixed(name, tuple(parameter.shape))))
    return model


def on_device(raw, device, precision):
    import torch

    tokens, segments = raw["tokens"].astype(np.int64), raw["segments"].astype(np.int64)
    rows, context = tokens.shape
    same = (segments[:, :-1] == segments[:, 1:]) & (segments[:, :-1] != 0)
    wanted = same & ~np.isin(tokens[:, 1:], (SLOT, EOI, BOS))
    row, place = np.nonzero(wanted)
    bois = raw["first_slots"].astype(np.int64) - 1
    paired = np.nonzero(raw["has_context"])[0]
    pixels = torch.from_numpy(raw["pixels"].copy()).permute(0, 3, 1, 2).float() / 255
    pixels = (pixels - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    # Where each place finds its row in (text embeddings ‖ visual tokens).
    is_slot = tokens.reshape(-1) == SLOT
    order = np.where(is_slot, (~is_slot).sum() + np.cumsum(is_slot) - 1, np.cumsum(~is_slot) - 1)
    there = lambda x: torch.from_numpy(np.ascontiguousarray(x)).to(device)
    alone = all(len(set(r[r != 0])) == 1 for r in segments)
    if alone:
        reach = ("causal",)
    elif device.type == "cuda" and precision == "bfloat16":
        flat = segments.reshape(-1)
        begins = np.nonzero((np.arange(flat.size) % context == 0) | (np.diff(flat, prepend=-1) != 0))[0]
        starts = np.append(begins, flat.size).astype(np.int32)
        reach = ("segments", there(starts), int(np.diff(starts).max()))
    else:
        looks = (segments[:, :, None] == segments[:, None, :]) & np.tri(context, dtype=bool)
        reach = ("mask", there(looks[:, None]))
    return {
        "pixels": pixels.contiguous().to(device),
        "text": there(tokens.reshape(-1)[~is_slot]),
        "order": there(order),
        "positions": there(raw["positions"].astype(np.int64)),
        "sources": there(row * context + place),
        "targets": there(tokens[row, place + 1]),
        "bois": there(bois[paired]),
        "paired": there(paired),
        "reach": reach,
    }


def worker(args):
    """One process of PyTorch: the first step's losses and the seconds of the timed ones, as JSON."""
    import torch

    cuda = args.device.startswith("cuda")
    device = torch.device(args.device if cuda else "cpu")
    model = build(args.model).to(device)
    batch = on_device(read_safetensors(args.worker), device, args.precision)
    decayed = lambda name, p: p.ndim >= 2 and not any(part in name for part in ("bn", "ln", "bias", "logit_scale"))
    named = list(model.named_parameters())
    groups = [
        {"params": [p for n, p in named if decayed(n, p)], "weight_decay": 0.2},
        {"params": [p for n, p in named if not decayed(n, p)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, betas=(0.9, 0.98), eps=1e-6, fused=True)
    forward = torch.compile(model) if args.compile else model

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bfloat16"):
            contrastive, generation = forward(batch)
        (0.1 * contrastive + generation).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        return torch.stack([contrastive.detach(), generation.detach(), norm])

    first = step().tolist()
    for _ in range(WARM_UP - 1):
        step().tolist()
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    seconds, before, since = [], step(), None
    while len(seconds) < args.steps:
        told = step()
        before.tolist()
        before, now = told, time.perf_counter()
        if since is not None:
            seconds.append(now - since)
        since = now
    before.tolist()
    peak = torch.cuda.max_memory_allocated(device) if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"contrastive": first[0], "generation": first[1], "grad_norm": first[2], "seconds": seconds, "peak_memory_bytes": peak}))


def output(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def ours(args, extra=()):
    command = [args.binary, "bench", "--json", "--model", args.model, "--batch", str(args.batch)]
    command += ["--steps", str(args.steps), "--device", args.device, "--precision", args.precision]
    command += ["--context", str(args.context)] if args.context else []
    return output(command + (["--packed"] if args.packed else []) + list(extra))


def theirs(args, path, compiled):
    command = [sys.executable, __file__, args.binary, "--worker", path, "--model", args.model]
    command += ["--steps", str(args.steps), "--device", args.device, "--precision", args.precision]
    return output(command + (["--compile"] if compiled else []))


def check(ours, theirs, precision):
    single = precision == "float32"
    # PyTorch's norm of 25 million float32 is itself off by up to 8e-4.
    for what, tolerance in (("contrastive", 1e-4), ("generation", 1e-4), ("grad_norm", 2e-3)):
        a, b = ours[what], theirs[what]
        tolerance = tolerance if single else 1e-2
        if abs(a - b) > tolerance * max(abs(b), 1e-2):
            sys.exit(f"error: {what} is {a} here and {b} in PyTorch: nothing is timed that does not compute the same")
    print("first step   contrastive {contrastive:.6f}, generation {generation:.6f}, gradients {grad_norm:.5f}: the same".format(**theirs))


def median(values):
    values = sorted(values)
    return values[len(values) // 2]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", help="lcl-train, built with --release --features tch")
    parser.add_argument("--model", default="tiny", choices=PRESETS)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--context", type=int)
    parser.add_argument("--packed", action="store_true")
    parser.add_argument("--steps", type=int, default=10, help="timed in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="libtorch-cpu", help="libtorch-cpu or cuda:0")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--compile", action="store_true", help="torch.compile too")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return worker(args)

    os.environ.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "batch.safetensors")
        sides = {"lcl-train": lambda: ours(args, ["--save", path]), "PyTorch eager": lambda: theirs(args, path, False)}
        if args.compile:
            sides["torch.compile"] = lambda: theirs(args, path, True)
        seconds, memory, one = {}, {}, {}
        for number in range(args.rounds):
            for name, run in sides.items():
                found = run()
                of_round = found["seconds"]
                seconds.setdefault(name, []).append(of_round["median"] if name == "lcl-train" else median(of_round))
                memory[name] = max(memory.get(name, 0), found["peak_memory_bytes"])
                one[name] = found
                if number == 0 and name == "PyTorch eager":
                    check(one["lcl-train"], found, args.precision)
    here = one["lcl-train"]
    print(f"{args.model}, {here['rows']} rows of {here['context']}, {here['images']} images, {args.precision}, {args.device}")
    print(f"{'':14} {'s a step':>9} {'images/s':>9} {'of peak':>8} {'memory':>9} {'ratio':>6}")
    for name, rounds in seconds.items():
        middle = median(rounds)
        share = here["flops"] / middle / here["peak_flops_per_second"]
        ratio = middle / median(seconds["lcl-train"])
        print(
            f"{name:14} {middle:9.4f} {here['images'] / middle:9.1f} {share:8.1%} {memory[name] / 1e9:6.2f} GB {ratio:6.2f}"
            f"   rounds {' '.join(f'{second:.4f}' for second in rounds)}"
        )


if __name__ == "__main__":
    main()
