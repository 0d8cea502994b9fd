"""Token: a few visual tokens as one descriptor (Wu et al., AAAI 2022, figure 2).

| | paper | released code | here |
|---|---|---|---|
| tokenizer | 1x1 convolution (figure) | learned queries since April 2022 | `tokenizer`: "query", "conv" |
| refinement | self-, cross-attention | cross-attention, MLP, self-attention | `refine_order`: "code", "paper" |
| normalisation in it | after each attention | before the first and the last | with the order |
| descriptor | 1024, unit norm | 1024, unit norm in tests only | unit norm |

In both the soft-max of the tokenizer runs over the tokens, and no area divides the sums of the query tokenizer.
The figure of the refinement names no MLP; with `refine_order="paper"` ours follows at the end.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from glocal.errors import ConfigError
from glocal.nn.backbone import create_backbone
from glocal.nn.feature_maps import Backbone, FeatureMaps
from glocal.nn.refinement import ConvTokenizer, LocalRelation, QueryTokenizer, Refinement

TOKENIZERS = {"query": QueryTokenizer, "conv": ConvTokenizer}
REFINE_ORDERS = ("code", "paper")


class TokenAggregator(nn.Module):
    """Any number of local features -> one descriptor.

    Args:
        channels: C' of the local features; they are brought to `dim` first if `linear`.
        dim: C of the tokens, and D of the descriptor.
        heads: of every attention.
        num_tokens: L.
        relations, refinements: numbers of layers.
        tokenizer: "query" or "conv".
        refine_order: "code" or "paper".
        dropout, drop_path: in training.
        linear: start with a linear layer, for local features of another system (the repository's second table).
    """

    def __init__(
        self,
        channels: int = 1024,
        dim: int = 1024,
        heads: int = 8,
        num_tokens: int = 4,
        relations: int = 1,
        refinements: int = 2,
        tokenizer: str = "query",
        refine_order: str = "code",
        dropout: float = 0.1,
        drop_path: float = 0.1,
        linear: bool = True,
    ) -> None:
        super().__init__()
        if tokenizer not in TOKENIZERS or refine_order not in REFINE_ORDERS or dim % heads:
            raise ConfigError(
                f"Token takes tokenizer {', '.join(TOKENIZERS)} (not {tokenizer!r}), refine_order "
                f"{', '.join(REFINE_ORDERS)} (not {refine_order!r}), and a dim ({dim}) that its heads ({heads}) divide"
            )
        self.reduce = nn.Linear(channels, dim) if linear else nn.Identity()
        self.relate = nn.ModuleList(LocalRelation(dim, heads, dropout, drop_path) for _ in range(relations))
        self.tokenize = TOKENIZERS[tokenizer](dim, num_tokens)
        self.refinements = nn.ModuleList(
            Refinement(dim, heads, refine_order, dropout, drop_path) for _ in range(refinements)
        )
        self.project = nn.Sequential(nn.Linear(num_tokens * dim, dim), nn.BatchNorm1d(dim))
        self.dim, self.local_dim = dim, 0

    def forward(self, local: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, C') local features, mask (B, N) bool where they are real -> (B, D) of unit norm."""
        local = self.reduce(local)  # (B, N, C)
        for relate in self.relate:
            local = relate(local, mask)  # (B, N, C), self-attention
        tokens = self.tokenize(local, mask)  # (B, L, C), spatial attention
        for refine in self.refinements:
            tokens = refine(tokens, local, mask)  # (B, L, C), self- and cross-attention
        return F.normalize(self.project(tokens.flatten(1)), dim=1)


class Token(nn.Module):
    """The network of figure 2: the deep map's cells are the local features. Options: those of `TokenAggregator`."""

    def __init__(self, backbone: Backbone, dim: int = 1024, **options: Any) -> None:
        super().__init__()
        self.backbone = backbone
        self.reduce = nn.Sequential(nn.Conv2d(backbone.channels[1], dim, 1), nn.BatchNorm2d(dim))
        self.aggregate = TokenAggregator(dim, dim, linear=False, **options)
        self.dim, self.local_dim = dim, 0

    def describe(self, maps: FeatureMaps) -> Tensor:
        """The two maps -> (B, D) of unit norm; only c5 is read."""
        local = self.reduce(maps.c5).flatten(2).mT  # (B, h w, C)
        return self.aggregate(local)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) normalised RGB -> (B, D) descriptors of unit norm."""
        return self.describe(self.backbone(images))


def token(backbone: str = "resnet50", resnet: str | None = None, **options: Any) -> Token:
    """Build Token with random weights; `resnet` as in `create_backbone`, the rest as in `Token`."""
    return Token(create_backbone(backbone, resnet), **options)
