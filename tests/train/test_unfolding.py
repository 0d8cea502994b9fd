import pytest
import torch

from glocal.errors import WeightsError
from glocal.nn.backbone import create_backbone
from glocal.train.unfolding import load_folded, normalised_convolutions, unfold_batchnorm


@pytest.fixture(scope="module")
def folded():
    """Convolutions with biases, drawn at random."""
    rng = torch.Generator().manual_seed(0)
    tensors = {}
    for i, (conv, _) in enumerate(normalised_convolutions(create_backbone("mobilenetv2"))):
        fan_in = conv.weight[0].numel()
        tensors[f"{i:02d}.weight"] = torch.randn(conv.weight.shape, generator=rng) * (2 / fan_in) ** 0.5
        tensors[f"{i:02d}.bias"] = 0.1 * torch.randn(conv.out_channels, generator=rng)
    return tensors


def test_unfolding_changes_the_statistics_and_not_the_function(folded):
    backbone = create_backbone("mobilenetv2").eval()
    load_folded(backbone, folded)
    batches = [torch.randn(4, 3, 96, 96, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    with torch.no_grad():
        before = backbone(batches[0]).c5
        unfold_batchnorm(backbone, batches)
        after = backbone(batches[0]).c5
    assert torch.allclose(before, after, atol=1e-4 * float(before.abs().max()))
    norms = [norm for _, norm in normalised_convolutions(backbone)]
    assert all(float(norm.running_mean.abs().max()) > 0 for norm in norms)
    # In training the batch has nearly the statistics that were measured, so the function hardly moves.
    with torch.no_grad():
        trained = backbone.train()(torch.cat(batches)).c5[:4]
    assert float((trained - before).abs().mean()) < 0.2 * float(before.abs().mean())


def test_convolutions_of_another_network_are_refused(folded):
    with pytest.raises(WeightsError, match="another network"):
        load_folded(create_backbone("resnet50"), folded)
    wrong = folded | {"07.weight": torch.zeros(3, 3, 1, 1)}
    with pytest.raises(WeightsError, match=r"07\.weight is \(3, 3, 1, 1\)"):
        load_folded(create_backbone("mobilenetv2"), wrong)
