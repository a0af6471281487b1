"""Starts the text tower from the best bag of words: a ridge regression of the teacher on mean token vectors.

The regression takes seconds and gives what hours of gradient steps would first have to find. It is written into the
transformer exactly: every token vector carries one large constant pattern, so that layer norm divides by nearly the same
number everywhere and keeps the tokens' lengths; layer 0 attends evenly and passes values through; the other layers start
silent; the projection drops the pattern.
"""
import numpy as np
import torch

PATTERN, GAIN = 1.0, 10.0


def ridge(ids, target, weight, vocab, penalty=2.0):
    """(vocab, P) token vectors whose mean over a text (both ends included) best gives the text's target."""
    gram, right = torch.zeros(vocab * vocab), torch.zeros(vocab, target.shape[1])
    lengths = np.array([len(i) for i in ids])
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        for part in np.array_split(rows, len(rows) // 20_000 + 1):
            tokens = torch.tensor([ids[i] for i in part])
            w = torch.from_numpy(weight[part]).float()
            pairs = (tokens[:, :, None] * vocab + tokens[:, None, :]).flatten(1)
            gram.index_add_(0, pairs.flatten(), (w / length ** 2)[:, None].expand(pairs.shape).flatten())
            add = (target[part] * (w / length)[:, None])[:, None].expand(-1, length, -1)
            right.index_add_(0, tokens.flatten(), add.reshape(-1, target.shape[1]))
    gram = gram.view(vocab, vocab)
    gram.diagonal().add_(penalty / 10)
    return torch.cholesky_solve(right, torch.linalg.cholesky(gram))


def write_into(tower, tokens):
    """Sets the tower such that it computes the mean of `tokens` over a text."""
    width = tokens.shape[1]
    pattern = torch.ones(width) * PATTERN
    pattern[1::2] *= -1
    text, eye = tower.text_model, torch.eye(width)
    text.embeddings["token_embedding"].weight.data.copy_(tokens + pattern)
    torch.nn.init.normal_(text.embeddings["position_embedding"].weight, std=0.005)
    for i, layer in enumerate(text.encoder["layers"]):
        attention = layer.self_attn
        torch.nn.init.normal_(layer.mlp.fc2.weight, std=0.002)
        torch.nn.init.normal_(attention.out_proj.weight, std=0.002)
        if i == 0:
            torch.nn.init.normal_(attention.q_proj.weight, std=0.01)
            torch.nn.init.normal_(attention.k_proj.weight, std=0.01)
            attention.v_proj.weight.data.copy_(eye * PATTERN)
            attention.v_proj.bias.data.copy_(-pattern)
            attention.out_proj.weight.data.copy_(eye * GAIN)
    unit = pattern / pattern.norm()
    tower.text_projection.weight.data.copy_(eye - torch.outer(unit, unit))
