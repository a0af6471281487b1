"""Checks a checkpoint directory: size, names, golden vectors, tokenizer, and its text tower in Hugging Face's CLIP."""
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

import export
import reference

TEXTS = ["a photo of a cat", "Two children, playing football!", "naïve café 42", "thunderstorm"]


def check_golden(tower, folder):
    golden = json.loads((folder / "golden.json").read_text())
    found = tower.encode_texts([g["text"] for g in golden["texts"]])
    pictures = tower.encode_images(torch.stack([reference.golden_image(g["index"]) for g in golden["images"]]))
    for vectors, rows in ((found, golden["texts"]), (pictures, golden["images"])):
        assert ((vectors * torch.tensor([g["vector"] for g in rows])).sum(1) > 0.99999).all()
        assert torch.allclose(vectors.norm(dim=1), torch.ones(len(vectors)), atol=1e-5)


def check_hugging_face(tower, folder):
    """transformers' own CLIP text tower gives the same vectors from the same names and shapes."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection
    settings = dict(tower.config["text_config"], projection_dim=tower.config["projection_dim"])
    settings.pop("model_type")
    theirs = CLIPTextModelWithProjection(CLIPTextConfig(**settings)).eval()
    weights = {k: v.float() for k, v in load_file(folder / "model.safetensors").items() if k.startswith("text_")}
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert not unexpected and all("position_ids" in m for m in missing), (missing, unexpected)
    ids = tower.tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        vectors = torch.nn.functional.normalize(theirs(**ids).text_embeds, dim=-1)
    assert ((vectors * tower.encode_texts(TEXTS)).sum(1) > 0.99999).all(), "differs from transformers' CLIP"


def main():
    folder = Path(sys.argv[1])
    assert (folder / "model.safetensors").stat().st_size <= export.MAX_BYTES
    assert all(v.dtype == torch.float16 for v in load_file(folder / "model.safetensors").values())
    tower = reference.load(folder)
    size = tower.config["text_config"]["vocab_size"]
    assert len(tower.tokenizer) == size and tower.tokenizer.eos_token_id == size - 1 == tower.tokenizer.pad_token_id
    assert tower.tokenizer(["CAT"])["input_ids"] == tower.tokenizer(["cat"])["input_ids"]
    check_golden(tower, folder)
    check_hugging_face(tower, folder)
    print("checkpoint ok")


if __name__ == "__main__":
    main()
