"""The two towers as trained: EfficientNet-Lite with folded batch norms, and CLIP's text transformer.

The image vector (all in fp32; the checkpoint stores fp16):

    t = blocks[0 : from_block](relu6(stem(x)))          x: (n, 3, 224, 224), (pixel - 127) / 128
    f = mean_hw(relu6(head_conv(blocks[from_block :](t))))                   (n, 1280), frozen ImageNet features
    g = mean_hw(relu6(art_tail.head_conv(art_tail.blocks(t))))               (n, 1280), tuned on artwork
    a = l2(fc2(gelu(fc1(g))))                                                (n, P), exact (erf) gelu
    c = softmax(classifier(f) / temperature) @ class_embedding               (n, P), not normalised
    v = l2(a + weight * c)

`c` is ConSE (Norouzi et al., 2014): the mean class-name vector under the classifier. The class vectors are
centred, so an unsure classifier (a drawing) adds little and a sure one (a photograph) adds much.
One block is  [expand 1x1 -> relu6] -> depthwise -> relu6 -> project 1x1 [+ input], every convolution with a
bias and TensorFlow's "same" padding (the odd pixel goes right and below). No expand where the ratio is 1.
The text vector is Hugging Face CLIPModel's: l2(text_projection(final_layer_norm(h)[first end-of-text])).
"""
import torch
import torch.nn.functional as F
from torch import nn


def l2(x):
    return F.normalize(x.float(), dim=-1)


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's "same" padding."""

    def forward(self, x):
        k, s = self.kernel_size[0], self.stride[0]
        if s == 1:
            return F.conv2d(x, self.weight, self.bias, 1, k // 2, 1, self.groups)
        h, w = (max((-(-n // s) - 1) * s + k - n, 0) for n in x.shape[-2:])
        x = F.pad(x, (w // 2, w - w // 2, h // 2, h - h // 2))
        return F.conv2d(x, self.weight, self.bias, s, 0, 1, self.groups)


class Block(nn.Module):
    """One inverted-bottleneck block; `spec` is its entry in config.json."""

    def __init__(self, spec):
        super().__init__()
        wide = spec["in_channels"] * spec["expand_ratio"]
        self.expand = SameConv2d(spec["in_channels"], wide, 1) if spec["expand_ratio"] != 1 else None
        self.depthwise = SameConv2d(wide, wide, spec["kernel"], spec["stride"], groups=wide)
        self.project = SameConv2d(wide, spec["out_channels"], 1)
        self.residual = spec["residual"]

    def forward(self, x):
        y = F.relu6(self.expand(x)) if self.expand is not None else x
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class Tail(nn.Module):
    """The last blocks and the 1x1 head convolution, pooled: (n, c, h, w) -> (n, head_conv_channels)."""

    def __init__(self, specs, channels):
        super().__init__()
        self.blocks = nn.ModuleList(Block(s) for s in specs)
        self.head_conv = SameConv2d(specs[-1]["out_channels"], channels, 1)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return F.relu6(self.head_conv(x)).mean((2, 3))


class Head(nn.Module):
    """Pooled art and class features -> unit image vectors; see the formula above."""

    def __init__(self, channels, dim, spec):
        super().__init__()
        branch = spec["class_branch"]
        self.temperature, self.weight = branch["temperature"], branch["weight"]
        self.fc1 = nn.Linear(channels, spec["hidden"])
        self.fc2 = nn.Linear(spec["hidden"], dim)
        self.classifier = nn.Linear(channels, branch["num_classes"])
        self.class_embedding = nn.Parameter(torch.zeros(branch["num_classes"], dim))

    def class_vector(self, f):
        return torch.softmax(self.classifier(f) / self.temperature, -1) @ self.class_embedding

    def forward(self, f, g):
        return l2(l2(self.fc2(F.gelu(self.fc1(g)))) + self.weight * self.class_vector(f))


class ImageTower(nn.Module):
    def __init__(self, config, dim):
        super().__init__()
        stem, art = config["stem"], config["art_tail"]
        self.stem = SameConv2d(3, stem["out_channels"], stem["kernel"], stem["stride"])
        self.blocks = nn.ModuleList(Block(s) for s in config["blocks"])
        self.head_conv = SameConv2d(config["blocks"][-1]["out_channels"], config["head_conv_channels"], 1)
        self.from_block = art["from_block"]
        self.art_tail = Tail(art["blocks"], art["head_conv_channels"])
        self.head = Head(art["head_conv_channels"], dim, config["head"])

    def trunk(self, x):
        x = F.relu6(self.stem(x))
        for block in self.blocks[: self.from_block]:
            x = block(x)
        return x

    def class_tail(self, t):
        for block in self.blocks[self.from_block:]:
            t = block(t)
        return F.relu6(self.head_conv(t)).mean((2, 3))

    def forward(self, x):
        t = self.trunk(x)
        return self.head(self.class_tail(t), self.art_tail(t))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        n, length, width = x.shape
        q, k, v = (p(x).view(n, length, self.heads, -1).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        mask = torch.full((length, length), float("-inf"), device=x.device).triu(1)
        scores = q @ k.transpose(-1, -2) * (width // self.heads) ** -0.5 + mask
        return self.out_proj((torch.softmax(scores.float(), -1).to(v.dtype) @ v).transpose(1, 2).reshape(n, length, width))


class Mlp(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        h = self.fc1(x)
        return self.fc2(h * torch.sigmoid(1.702 * h))  # quick_gelu


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.self_attn = Attention(c["hidden_size"], c["num_attention_heads"])
        self.layer_norm1 = nn.LayerNorm(c["hidden_size"], c["layer_norm_eps"])
        self.mlp = Mlp(c["hidden_size"], c["intermediate_size"])
        self.layer_norm2 = nn.LayerNorm(c["hidden_size"], c["layer_norm_eps"])

    def forward(self, x):
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class TextModel(nn.Module):
    """CLIP's text transformer; ids (n, length) padded with end-of-text -> (n, width), pooled and normed."""

    def __init__(self, c):
        super().__init__()
        self.eos = c["eos_token_id"]
        self.embeddings = nn.ModuleDict({
            "token_embedding": nn.Embedding(c["vocab_size"], c["hidden_size"]),
            "position_embedding": nn.Embedding(c["max_position_embeddings"], c["hidden_size"])})
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(Layer(c) for _ in range(c["num_hidden_layers"]))})
        self.final_layer_norm = nn.LayerNorm(c["hidden_size"], c["layer_norm_eps"])

    def forward(self, ids):
        x = self.embeddings["token_embedding"](ids) + self.embeddings["position_embedding"].weight[: ids.shape[1]]
        for layer in self.encoder["layers"]:
            x = layer(x)
        first_end = (ids == self.eos).int().argmax(1)
        return self.final_layer_norm(x[torch.arange(len(ids)), first_end])


class Clip(nn.Module):
    """Both towers; state_dict() has exactly the checkpoint's names."""

    def __init__(self, config):
        super().__init__()
        dim = config["projection_dim"]
        self.vision_model = ImageTower(config["vision_config"], dim)
        self.text_model = TextModel(config["text_config"])
        self.text_projection = nn.Linear(config["text_config"]["hidden_size"], dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(float(config["logit_scale_init_value"])))

    def encode_images(self, pixels):
        return self.vision_model(pixels)

    def encode_texts(self, ids):
        return l2(self.text_projection(self.text_model(ids)))
