"""The C++ towers against transformers' CLIPModel and the training code's module, on random weights.

A random model's outputs share one direction, so cosines are also taken after the mean embedding is
removed. Each test prints what it measured (pytest -rA shows it).
"""
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "encoder/models/imagesearch-lite-v1"
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
TEXTS = ["cat", "a photo of a dog", "two red bicycles, leaning on the wall of an old house", "Sunset!", "日本の山 🗻",
         "x", "the quick brown fox jumps over the lazy dog " * 12, "a", "seven", "an aerial photograph of a harbour"]
VISION = dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, image_size=224,
              patch_size=32, hidden_act="quick_gelu")
TEXT = dict(hidden_size=512, intermediate_size=2048, num_hidden_layers=12, num_attention_heads=8, vocab_size=49408,
            max_position_embeddings=77, hidden_act="quick_gelu", eos_token_id=49407)
CONFIGS = {
    # ViT-B/32 at its true size.
    "b32": dict(projection_dim=512, vision_config=VISION, text_config=TEXT),
    # Exact gelu, heads 80 wide (as H/14), a wide vision tower beside a narrow text tower, 14-pixel patches.
    "h14-like": dict(projection_dim=160,
                     vision_config=VISION | dict(hidden_size=320, intermediate_size=1280, num_hidden_layers=3,
                                                 num_attention_heads=4, image_size=56, patch_size=14, hidden_act="gelu"),
                     text_config=TEXT | dict(hidden_size=128, intermediate_size=512, num_hidden_layers=2,
                                             num_attention_heads=2, hidden_act="gelu")),
    # Odd sizes everywhere: widths that fill no register, heads 104 wide (bigG), a short context.
    "odd": dict(projection_dim=72,
                vision_config=VISION | dict(hidden_size=208, intermediate_size=424, num_hidden_layers=2,
                                            num_attention_heads=2, image_size=48, patch_size=16),
                text_config=TEXT | dict(hidden_size=72, intermediate_size=200, num_hidden_layers=3, num_attention_heads=3,
                                        max_position_embeddings=24)),
}
MIXED_LENGTH_BATCH = 8


def save(model, folder, tokenizer_dir, **options):
    model.save_pretrained(folder, **options)
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(tokenizer_dir / name, folder / name)
    size = model.config.vision_config.image_size
    (folder / "preprocessor_config.json").write_text(json.dumps(
        {"size": {"shortest_edge": size}, "crop_size": size, "image_mean": MEAN.tolist(), "image_std": STD.tolist()}))
    return folder


def random_model(name, **text_changes):
    settings = CONFIGS[name] | {"text_config": CONFIGS[name]["text_config"] | text_changes}
    torch.manual_seed(len(name))
    model = CLIPModel(CLIPConfig(**settings)).eval()
    with torch.no_grad():  # the initial biases and norms are trivial: make every weight count
        for key, p in model.named_parameters():
            if p.dim() == 1 and "logit_scale" not in key:
                p.add_(torch.randn_like(p) * 0.1)
    return model


@pytest.fixture(scope="module", params=CONFIGS)
def checkpoint(request, tmp_path_factory, clip_tokenizer_dir):
    """(name, model, folder)"""
    model = random_model(request.param)
    return request.param, model, save(model, tmp_path_factory.mktemp(request.param), clip_tokenizer_dir)


@pytest.fixture(scope="module")
def small(tmp_path_factory, clip_tokenizer_dir):
    model = random_model("h14-like")
    return model, save(model, tmp_path_factory.mktemp("small"), clip_tokenizer_dir)


def pictures(size, count=12):
    """Smooth random pictures, as (count, size, size, 3) bytes."""
    rng = np.random.default_rng(5)
    coarse = torch.from_numpy(rng.random((count, 3, 7, 7)).astype(np.float32) * 255)
    fine = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic")
    fine += torch.from_numpy(rng.normal(0, 12, fine.shape).astype(np.float32))
    return fine.clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()


def run_tool(tools, folder, tmp_path, *options, check=True):
    done = subprocess.run([tools / "encode_tool", folder, tmp_path / "out.json", *map(str, options)],
                          capture_output=True, text=True)
    if not check:
        return done
    assert done.returncode == 0, done.stderr
    return json.loads((tmp_path / "out.json").read_text())


def ours(tools, folder, tmp_path, images, texts=TEXTS, *options):
    """(image vectors, text vectors, model info)"""
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    (tmp_path / "pixels.raw").write_bytes(images.tobytes())
    out = run_tool(tools, folder, tmp_path, "--texts", tmp_path / "texts.json", "--pixels", tmp_path / "pixels.raw", *options)
    return np.array(out["pixels"], np.float32), np.array(out["texts"], np.float32), out["model"]


def unit(v):
    return v / np.linalg.norm(v, axis=1, keepdims=True)


@torch.no_grad()
def theirs(model, folder, images, texts=TEXTS):
    pixels = torch.from_numpy(((images.astype(np.float32) / 255 - MEAN) / STD).transpose(0, 3, 1, 2).copy())
    tokenizer = CLIPTokenizer.from_pretrained(str(folder))
    ids = tokenizer(texts, padding=True, truncation=True, max_length=model.config.text_config.max_position_embeddings,
                    return_tensors="pt")["input_ids"]
    image = model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)
    text = model.text_projection(model.text_model(input_ids=ids).pooler_output)
    return unit(image.numpy()), unit(text.numpy())


def compare(what, got, want, cosine=0.99999, centred=0.99999, difference=1e-4):
    plain = (unit(got) * unit(want)).sum(1).min()
    mean = want.mean(0)
    removed = (unit(got - mean) * unit(want - mean)).sum(1).min()
    largest = np.abs(got - want).max()
    print(f"{what}: cosine {plain:.7f}, mean removed {removed:.7f}, largest difference {largest:.2e}")
    assert np.allclose(np.linalg.norm(got, axis=1), 1, atol=1e-5)
    assert plain >= cosine and removed >= centred and largest <= difference


def compare_both(what, got, want, **bounds):
    compare(f"{what} images", got[0], want[0], **bounds)
    compare(f"{what} texts", got[1], want[1], **bounds)


def test_hugging_face_checkpoint_equals_transformers(checkpoint, tools, tmp_path):
    name, model, folder = checkpoint
    images = pictures(model.config.vision_config.image_size)
    compare_both(name, ours(tools, folder, tmp_path, images), theirs(model, folder, images))


def test_plain_path_equals_transformers(small, tools, tmp_path):
    model, folder = small
    images = pictures(56)
    compare_both("plain", ours(tools, folder, tmp_path, images, TEXTS, "--plain"), theirs(model, folder, images))


def test_sharded_checkpoint(small, tools, tmp_path, clip_tokenizer_dir):
    model, _ = small
    folder = save(model, tmp_path / "sharded", clip_tokenizer_dir, max_shard_size="2MB")
    assert (folder / "model.safetensors.index.json").exists() and not (folder / "model.safetensors").exists()
    images = pictures(56)
    compare_both("sharded", ours(tools, folder, tmp_path, images), theirs(model, folder, images))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files(dtype, small, tools, tmp_path, clip_tokenizer_dir):
    model, folder = small
    half = CLIPModel.from_pretrained(folder, dtype=dtype)
    target = save(half, tmp_path / "half", clip_tokenizer_dir)
    images = pictures(56)
    # Compared with the same rounded weights in fp32 arithmetic.
    compare_both(str(dtype), ours(tools, target, tmp_path, images), theirs(half.float(), target, images))


def test_legacy_end_of_text_id_pools_at_the_highest_id(tools, tmp_path, clip_tokenizer_dir):
    model = random_model("h14-like", eos_token_id=2)
    folder = save(model, tmp_path / "legacy", clip_tokenizer_dir)
    images = pictures(56, 2)
    compare_both("legacy eos", ours(tools, folder, tmp_path, images), theirs(model, folder, images))


def test_text_with_an_end_token_inside_pools_at_the_first(small, tools, tmp_path):
    model, folder = small
    texts = ["a cat<|endoftext|>and a dog", "<|endoftext|>", "plain"]
    images = pictures(56, 2)
    compare("inner end token", ours(tools, folder, tmp_path, images, texts)[1], theirs(model, folder, images, texts)[1])


def test_configuration_keys_left_out_take_defaults(tools, tmp_path, clip_tokenizer_dir):
    torch.manual_seed(9)
    text = dict(num_hidden_layers=1, hidden_size=128, num_attention_heads=2)
    vision = dict(num_hidden_layers=1, hidden_size=128, num_attention_heads=2)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision)).eval()
    folder = save(model, tmp_path / "defaults", clip_tokenizer_dir)
    (folder / "preprocessor_config.json").unlink()
    images = pictures(224, 2)
    want = theirs(model, folder, images)
    for config in ({"model_type": "clip", "text_config": text, "vision_config": vision},
                   {"model_type": "clip", "text_config": {"hidden_size": 999}, "text_config_dict": text,
                    "vision_config": {"patch_size": 7}, "vision_config_dict": vision}):
        (folder / "config.json").write_text(json.dumps(config))
        compare_both("defaults", ours(tools, folder, tmp_path, images), want)


def open_clip_state(state, layers, prefix="", dtype=torch.float32):
    """The same weights under OpenCLIP's names."""
    out = {"visual.conv1.weight": state["vision_model.embeddings.patch_embedding.weight"],
           "visual.class_embedding": state["vision_model.embeddings.class_embedding"],
           "visual.positional_embedding": state["vision_model.embeddings.position_embedding.weight"],
           "visual.proj": state["visual_projection.weight"].T,
           prefix + "token_embedding.weight": state["text_model.embeddings.token_embedding.weight"],
           prefix + "positional_embedding": state["text_model.embeddings.position_embedding.weight"],
           prefix + "text_projection": state["text_projection.weight"].T,
           "logit_scale": state["logit_scale"]}
    for side in ("weight", "bias"):
        out[f"visual.ln_pre.{side}"] = state[f"vision_model.pre_layrnorm.{side}"]
        out[f"visual.ln_post.{side}"] = state[f"vision_model.post_layernorm.{side}"]
        out[f"{prefix}ln_final.{side}"] = state[f"text_model.final_layer_norm.{side}"]
        for tower, stack, count in (("vision_model", "visual.", layers[0]), ("text_model", prefix, layers[1])):
            for i in range(count):
                old, new = f"{tower}.encoder.layers.{i}.", f"{stack}transformer.resblocks.{i}."
                out[f"{new}attn.in_proj_{side}"] = torch.cat([state[f"{old}self_attn.{p}_proj.{side}"] for p in "qkv"])
                for theirs_, mine in (("attn.out_proj", "self_attn.out_proj"), ("ln_1", "layer_norm1"),
                                      ("ln_2", "layer_norm2"), ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2")):
                    out[f"{new}{theirs_}.{side}"] = state[f"{old}{mine}.{side}"]
    return {k: v.detach().to(dtype).contiguous().clone() for k, v in out.items()}


@pytest.mark.parametrize("custom_text", [False, True])
@pytest.mark.parametrize("quick_gelu", [False, True])
def test_open_clip_folder(quick_gelu, custom_text, tools, tmp_path, clip_tokenizer_dir):
    settings = {k: (v | {"hidden_act": "quick_gelu" if quick_gelu else "gelu"} if isinstance(v, dict) else v)
                for k, v in CONFIGS["h14-like"].items()}
    torch.manual_seed(3)
    model = CLIPModel(CLIPConfig(**settings)).eval()
    folder = tmp_path / "open_clip"
    folder.mkdir()
    prefix = "text." if custom_text else ""
    save_file(open_clip_state(model.state_dict(), (3, 2), prefix), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({
        "model_cfg": {"embed_dim": 160, "quick_gelu": quick_gelu, "custom_text": custom_text,
                      "vision_cfg": {"image_size": 56, "layers": 3, "width": 320, "head_width": 80, "patch_size": 14},
                      "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 2}},
        "preprocess_cfg": {"mean": MEAN.tolist(), "std": STD.tolist(), "interpolation": "bicubic", "resize_mode": "shortest"}}))
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(clip_tokenizer_dir / name, folder / name)
    images = pictures(56)
    compare_both("OpenCLIP", ours(tools, folder, tmp_path, images), theirs(model, folder, images))


def test_shipped_model_equals_the_training_code(tools, tmp_path):
    sys.path.insert(0, str(ROOT / "encoder/training"))
    import reference
    tower = reference.load(SHIPPED)
    texts = [t for t in TEXTS]
    images = pictures(224)
    got = ours(tools, SHIPPED, tmp_path, images, texts, "--self-test")
    pixels = torch.from_numpy((images.astype(np.float32) - 127) / 128).permute(0, 3, 1, 2)
    compare_both("shipped", got, (tower.encode_images(pixels).numpy(), tower.encode_texts(texts).numpy()))


@pytest.mark.parametrize("precision,bound", [("fp32", 0.999999), ("bf16", 0.9999), ("int8", 0.9999)])
@pytest.mark.parametrize("which", ["small", "shipped"])
def test_answer_does_not_depend_on_the_batch(which, precision, bound, small, tools, tmp_path):
    if precision == "int8" and not has_vnni():
        pytest.skip("this CPU has no AVX512-VNNI")
    folder, size = (small[1], 56) if which == "small" else (SHIPPED, 224)
    images = pictures(size)
    alone = ours(tools, folder, tmp_path, images, TEXTS, "--precision", precision, "--batch", 1)
    together = ours(tools, folder, tmp_path, images, TEXTS, "--precision", precision, "--batch", MIXED_LENGTH_BATCH)
    for what, a, b in zip(("images", "texts"), alone, together):
        cosine = (a * b).sum(1).min()
        print(f"{which} {precision} {what}: batch {MIXED_LENGTH_BATCH} against 1: cosine {cosine:.7f}")
        assert cosine >= bound


def has_vnni():
    return "avx512_vnni" in pathlib.Path("/proc/cpuinfo").read_text()


def test_fidelity_of_small_formats_at_true_size(tools, tmp_path, clip_tokenizer_dir):
    model = random_model("b32")
    folder = save(model, tmp_path / "b32", clip_tokenizer_dir)
    images = pictures(224)
    want = theirs(model, folder, images)
    # Also as on older CPUs: without AVX512-BF16, without VNNI, without AVX-512 (oneDNN's layers).
    for precision, kernels, centred in (("bf16", "best", 0.998), ("int8", "best", 0.99), ("int8", "avx512_vnni", 0.99),
                                        ("fp32", "avx512", 0.9999), ("fp32", "none", 0.9999), ("bf16", "none", 0.998)):
        if precision == "int8" and not has_vnni():
            continue
        name = f"{precision} with kernels {kernels}"
        got = ours(tools, folder, tmp_path, images, TEXTS, "--precision", precision, "--kernels", kernels, "--self-test")
        for what, a, b in zip(("images", "texts"), got, want):
            print(f"{name} {what}: mean cosine {(a * b).sum(1).mean():.7f}")
            assert (a * b).sum(1).mean() >= 0.9995
        compare_both(name, got, want, cosine=0.999, centred=centred, difference=1)


def refused(tools, folder, tmp_path):
    done = run_tool(tools, folder, tmp_path, check=False)
    print(done.stderr.strip())
    assert done.returncode == 1
    return done.stderr


def test_pickle_checkpoint_names_a_command_that_works(small, tools, tmp_path):
    model, source = small
    folder = tmp_path / "it's a pickle"
    shutil.copytree(source, folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    message = refused(tools, folder, tmp_path)
    assert message.startswith("MODEL_IS_PICKLE")
    command = message.split("Convert it once with: ")[1].split("   (needs:")[0]
    subprocess.run(["bash", "-c", command.replace("python3", sys.executable)], check=True)
    images = pictures(56, 2)
    compare_both("converted", ours(tools, folder, tmp_path, images), theirs(model, folder, images))


def test_damaged_checkpoints_are_named(small, tools, tmp_path):
    _, source = small

    def broken(name):
        folder = tmp_path / name
        shutil.copytree(source, folder)
        return folder, folder / "model.safetensors"

    folder, weights = broken("cut")
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert "cut short" in refused(tools, folder, tmp_path)

    folder, weights = broken("missing")
    state = load_file(weights)
    del state["vision_model.encoder.layers.2.mlp.fc2.bias"]
    save_file(state, weights)
    assert "tensor vision_model.encoder.layers.2.mlp.fc2.bias is missing" in refused(tools, folder, tmp_path)

    folder, weights = broken("shape")
    state = load_file(weights)
    state["text_projection.weight"] = state["text_projection.weight"][:, :100].contiguous()
    save_file(state, weights)
    assert "(160, 100), expected (160, 128)" in refused(tools, folder, tmp_path)
