"""The parts of Token: relation modelling, tokenizers, refinement (Wu et al., AAAI 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DROPOUT = 0.1


class DropPath(nn.Module):
    """Leaves a residual branch out for a random part of the batch, in training only."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, branch: Tensor) -> Tensor:
        """(B, ...) -> the same; dropped rows are zero, the others scaled to keep the mean."""
        if not self.training or self.probability == 0:
            return branch
        keep = 1 - self.probability
        mask = branch.new_empty((len(branch),) + (1,) * (branch.ndim - 1)).bernoulli_(keep)
        return branch * mask / keep


class Attention(nn.Module):
    """Multi-head attention; its output projection starts at zero, so that a residual block starts as the identity."""

    def __init__(self, dim: int, heads: int, dropout: float = DROPOUT) -> None:
        super().__init__()
        self.query, self.key, self.value, self.project = (nn.Linear(dim, dim) for _ in range(4))
        for linear in (self.query, self.key, self.value):
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        self._heads = heads
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        """Let every query read the context.

        Args:
            queries: (B, M, C).
            context: (B, N, C).
            mask: (B, N) bool, True where the context is real; None for everywhere.

        Returns:
            (B, M, C).
        """
        batch, _, dim = queries.shape
        q, k, v = (
            linear(x).view(batch, -1, self._heads, dim // self._heads).transpose(1, 2)  # (B, heads, M or N, C / heads)
            for linear, x in ((self.query, queries), (self.key, context), (self.value, context))
        )
        where = None if mask is None else mask[:, None, None, :]
        rate = self.dropout.p if self.training else 0.0
        read = F.scaled_dot_product_attention(q, k, v, attn_mask=where, dropout_p=rate)
        return self.dropout(self.project(read.transpose(1, 2).reshape(batch, -1, dim)))


class LocalRelation(nn.Module):
    """Local feature self-attention, "LFSA" (section 3.1): every position learns of all others."""

    def __init__(self, dim: int, heads: int, dropout: float = DROPOUT, drop_path: float = DROPOUT) -> None:
        super().__init__()
        self.attention = Attention(dim, heads, dropout)
        self.norm = nn.BatchNorm1d(dim)
        self.linear = nn.Linear(dim, dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, local: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, C), mask (B, N) or None -> (B, N, C)."""
        local = local + self.drop_path(self.attention(local, local, mask))
        return local + self.drop_path(self.linear(self._normalise(local, mask)))

    def _normalise(self, local: Tensor, mask: Tensor | None) -> Tensor:
        """Batch normalisation over all real positions of the batch."""
        if mask is None:
            return self.norm(local.flatten(0, 1)).view_as(local)
        normalised = torch.zeros_like(local)
        normalised[mask] = self.norm(local[mask])
        return normalised


class QueryTokenizer(nn.Module):
    """Learned queries share the positions out among the tokens (section 3.2; the released code since April 2022)."""

    def __init__(self, dim: int, num_tokens: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, num_tokens, dim))
        self.linear = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)

    def attend(self, local: Tensor) -> Tensor:
        """(B, N, C) -> (B, L, N): a soft-max over the tokens, so every position is shared out entirely."""
        return torch.einsum("xlc,bnc->bln", self.query, local).softmax(dim=1)

    def forward(self, local: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, C), mask (B, N) or None -> (B, L, C)."""
        shares = self.attend(local) if mask is None else self.attend(local) * mask[:, None, :]
        return self.norm(self.linear(torch.einsum("bln,bnc->blc", shares, local)))


class ConvTokenizer(nn.Module):
    """A 1x1 convolution shares the positions out (the paper's figure, and the first release)."""

    def __init__(self, dim: int, num_tokens: int) -> None:
        super().__init__()
        self.score = nn.Linear(dim, num_tokens)
        self.norm = nn.LayerNorm(dim)

    def attend(self, local: Tensor) -> Tensor:
        """(B, N, C) -> (B, L, N): a soft-max over the tokens."""
        return self.score(local).mT.softmax(dim=1)

    def forward(self, local: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, C), mask (B, N) or None -> (B, L, C), means over the real positions."""
        shares = self.attend(local)
        if mask is None:
            return self.norm(torch.einsum("bln,bnc->blc", shares, local) / local.shape[1])
        count = mask.sum(dim=1).clamp(min=1)[:, None, None]
        return self.norm(torch.einsum("bln,bnc->blc", shares * mask[:, None, :], local) / count)


class Refinement(nn.Module):
    """Tokens read the local features and each other (section 3.3).

    Args:
        dim: C.
        heads: of each attention.
        order: "code" is the released order, cross-attention, MLP, self-attention; "paper" is the figure's,
            self-attention and cross-attention, each followed by a normalisation.
        dropout: in the attentions and the MLP.
        drop_path: of each residual branch.
    """

    def __init__(
        self, dim: int, heads: int, order: str = "code", dropout: float = DROPOUT, drop_path: float = DROPOUT
    ) -> None:
        super().__init__()
        self.self_attention = Attention(dim, heads, dropout)
        self.cross_attention = Attention(dim, heads, dropout)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * dim, dim), nn.Dropout(dropout)
        )
        self.drop_path = DropPath(drop_path)
        self._order = order

    def forward(self, tokens: Tensor, local: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, L, C), (B, N, C), mask (B, N) or None -> (B, L, C)."""
        drop = self.drop_path
        if self._order == "paper":
            tokens = self.norm1(tokens + drop(self.self_attention(tokens, tokens)))
            tokens = self.norm2(tokens + drop(self.cross_attention(tokens, local, mask)))
            return tokens + drop(self.mlp(tokens))
        tokens = tokens + drop(self.cross_attention(self.norm1(tokens), local, mask))
        tokens = tokens + drop(self.mlp(tokens))
        normed = self.norm2(tokens)
        return tokens + drop(self.self_attention(normed, normed))
