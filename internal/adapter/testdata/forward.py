"""An independent forward pass of a Llama with W + scale·B·A, from safetensors
files with the names and layout of their authors. Prints the logits of the
last token as JSON."""
import json, math, struct, sys
import numpy as np

model, adapter, config, tokens, heads, kv, rope, eps = sys.argv[1:9]
tokens, heads, kv = json.loads(tokens), int(heads), int(kv)


def load(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    out = {}
    for name, t in json.loads(raw[8 : 8 + n]).items():
        if name == "__metadata__":
            continue
        b = raw[8 + n + t["data_offsets"][0] : 8 + n + t["data_offsets"][1]]
        if t["dtype"] == "BF16":
            x = (np.frombuffer(b, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            x = np.frombuffer(b, {"F32": "<f4", "F16": "<f2"}[t["dtype"]])
        out[name] = x.astype(np.float64).reshape(t["shape"])
    return out


w, lora = load(model), load(adapter)
c = json.load(open(config))
for name in [n for n in lora if ".lora_A." in n]:
    a, b = lora[name], lora[name.replace(".lora_A.", ".lora_B.")]
    module = name.removeprefix("base_model.model.").split(".lora_A.")[0]
    alpha = c["lora_alpha"]
    for key, v in (c.get("alpha_pattern") or {}).items():
        if module == key or module.endswith("." + key):
            alpha = v
            break
    r = a.shape[0]
    w[module + ".weight"] = w[module + ".weight"] + (alpha / math.sqrt(r) if c.get("use_rslora") else alpha / r) * (b @ a)


def norm(x, g):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + float(eps)) * g


x = w["model.embed_tokens.weight"][tokens]
n, d = x.shape
hd = w["model.layers.0.self_attn.q_proj.weight"].shape[0] // heads
freq = 1.0 / float(rope) ** (np.arange(0, hd, 2) / hd)
angle = np.arange(n)[:, None] * np.concatenate([freq, freq])[None, :]


def rotate(q):  # halves one after the other
    h = hd // 2
    return q * np.cos(angle)[:, None, :] + np.concatenate([-q[..., h:], q[..., :h]], -1) * np.sin(angle)[:, None, :]


layer = 0
while f"model.layers.{layer}.self_attn.q_proj.weight" in w:
    p = f"model.layers.{layer}."
    g = lambda name: w[p + name + ".weight"]
    h = norm(x, g("input_layernorm"))
    q = rotate((h @ g("self_attn.q_proj").T).reshape(n, heads, hd))
    k = rotate((h @ g("self_attn.k_proj").T).reshape(n, kv, hd))
    v = (h @ g("self_attn.v_proj").T).reshape(n, kv, hd)
    k, v = np.repeat(k, heads // kv, 1), np.repeat(v, heads // kv, 1)
    s = np.einsum("ihd,jhd->hij", q, k) / math.sqrt(hd) + np.triu(np.full((n, n), -np.inf), 1)
    s = np.exp(s - s.max(-1, keepdims=True))
    s /= s.sum(-1, keepdims=True)
    x = x + np.einsum("hij,jhd->ihd", s, v).reshape(n, heads * hd) @ g("self_attn.o_proj").T
    h = norm(x, g("post_attention_layernorm"))
    a = h @ g("mlp.gate_proj").T
    x = x + (a / (1 + np.exp(-a)) * (h @ g("mlp.up_proj").T)) @ g("mlp.down_proj").T
    layer += 1
print(json.dumps((norm(x, w["model.norm.weight"]) @ w["lm_head.weight"].T)[-1].tolist()))
