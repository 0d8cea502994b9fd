"""Properties that every network of the catalogue has."""

import copy

import pytest
import torch
from torch import Tensor, nn

from glocal.errors import ConfigError
from glocal.models.catalogue import create_model
from glocal.models.delg import DelgOutput
from glocal.models.token import TokenAggregator
from glocal.nn.folding import fold_batchnorm

NETWORKS = [
    *((f"{family}_mobilenetv2", {}) for family in ("delg", "dolg", "token", "glocal", "gem", "rmac", "spoc", "mac")),
    ("delg_resnet50", {}),
    ("delg_resnet50", {"subsample": False}),
    ("delg_resnet50", {"variant": "torch"}),
    ("delg_resnet50", {"variant": "token"}),
    ("delg_resnet50", {"attention_input": "decoded", "pooled_map": "shallow"}),
    ("delg_resnet50", {"pooled_sum": True, "pooled_unit": False}),
    ("dolg_resnet50", {}),
    ("dolg_resnet50", {"multi_atrous": False, "learn_p": False}),
    ("token_resnet50", {"resnet": "caffe"}),
    ("token_mobilenetv2", {"tokenizer": "conv", "refine_order": "paper"}),
    ("glocal_resnet50", {}),
    ("glocal_mobilenetv2", {"local_map": "c4", "context": 0}),
    ("delg_mobilenetv2", {"variant": "torch"}),
    ("delg_mobilenetv2", {"variant": "token"}),
    ("glocal_mobilenetv2", {"system": "token", "dim": 128}),
]


def build(name: str, options: dict) -> nn.Module:
    torch.manual_seed(0)
    return create_model(name, **options)


@pytest.fixture(scope="module", params=NETWORKS, ids=lambda case: f"{case[0]}-{'-'.join(map(str, case[1].values()))}")
def network(request) -> nn.Module:
    made = build(*request.param)
    # Weights as after some training: at the start the last normalisations of residual blocks are zero.
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for key, value in [*made.named_parameters(), *made.named_buffers()]:
            if value.ndim == 1 and key.endswith(("weight", "running_var")):
                gain = 0.2 if key.endswith("bn3.weight") else 1.0  # keeps the residual sums of order one
                value.copy_(gain * (0.75 + 0.5 * torch.rand(value.shape, generator=rng)))
            elif value.ndim == 1 and key.endswith(("bias", "running_mean")):
                value.copy_(0.1 * torch.randn(value.shape, generator=rng))
    return made


def images(count: int = 2, height: int = 64, width: int = 96, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def descriptor_of(output: Tensor | DelgOutput) -> Tensor:
    return output.descriptor if isinstance(output, DelgOutput) else output


def test_the_descriptor_has_unit_norm_and_the_announced_length(network):
    network.eval()
    with torch.no_grad():
        descriptor = descriptor_of(network(images()))
    assert descriptor.shape == (2, network.dim)
    assert descriptor.norm(dim=1).numpy() == pytest.approx(1, abs=1e-5)


def test_local_maps_have_the_announced_depth_and_positive_attention(network):
    network.eval()
    with torch.no_grad():
        output = network(images())
    if not network.local_dim:
        assert isinstance(output, Tensor)
        return
    stride = 8 if network._local_map == "c3" else network.backbone.c4_stride
    assert output.local.shape == (2, network.local_dim, 64 // stride, 96 // stride)
    assert output.attention.shape == (2, 1, 64 // stride, 96 // stride)
    assert (output.attention > 0).all()
    assert output.pooled.shape == (2, network.local_head.pooled_channels)


def test_a_batch_of_two_equals_two_batches_of_one(network):
    network.eval()
    both = images()
    with torch.no_grad():
        together = descriptor_of(network(both))
        alone = torch.cat([descriptor_of(network(one[None])) for one in both])
    assert torch.allclose(together, alone, atol=1e-5)


def test_evaluation_changes_no_buffer(network):
    network.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad():
        network(images())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_every_parameter_gets_a_gradient_and_the_local_losses_leave_the_backbone_alone(network):
    network.train()
    network.zero_grad()
    output = network(images(4))
    if isinstance(output, DelgOutput):
        local = output.pooled.square().sum() + output.local.square().sum()
        if output.reconstruction is not None:
            local = local + output.reconstruction
        local.backward(retain_graph=True)
        reached = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
        assert reached == {name for name, _ in network.named_parameters() if name.startswith("local_head.")}
    descriptor_of(output)[:, 0].sum().backward()
    assert not [name for name, parameter in network.named_parameters() if parameter.grad is None]
    network.eval()


def test_a_folded_network_is_the_same_function(network):
    network.eval()
    folded = fold_batchnorm(copy.deepcopy(network))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    with torch.no_grad():
        plain, fast = network(images()), folded(images())
    assert torch.allclose(descriptor_of(plain), descriptor_of(fast), atol=1e-4)
    if isinstance(plain, DelgOutput):
        assert torch.allclose(plain.local, fast.local, atol=1e-3 * float(plain.local.abs().max()))
        assert torch.allclose(plain.attention, fast.attention, rtol=1e-3)


def test_modules_of_others_are_not_folded():
    class Unlike(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

        def forward(self, maps):
            return self.norm(torch.relu(self.conv(maps)))

    other = Unlike().eval()
    with torch.no_grad():
        before = other(images())
        assert torch.equal(fold_batchnorm(other)(images()), before)


def test_state_saved_and_loaded_gives_the_same_numbers(network):
    other = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict({name: value.clone() for name, value in network.state_dict().items()})
    network.eval()
    other.eval()
    with torch.no_grad():
        assert torch.equal(descriptor_of(network(images())), descriptor_of(other(images())))


@pytest.mark.parametrize("tokenizer", ["query", "conv"])
def test_masked_local_features_have_no_effect_on_an_aggregated_descriptor(tokenizer):
    torch.manual_seed(0)
    aggregate = TokenAggregator(channels=16, dim=32, tokenizer=tokenizer)
    for layer in [*aggregate.relate, *aggregate.refinements]:
        for module in layer.modules():
            if hasattr(module, "project"):
                nn.init.normal_(module.project.weight, std=0.2)
    local, real = torch.randn(2, 9, 16), torch.tensor([9, 5])
    mask = torch.arange(9)[None] < real[:, None]
    noisy = torch.where(mask[..., None], local, 100 * torch.randn(2, 9, 16))
    for mode in (False, True):
        aggregate.train(mode)
        torch.manual_seed(3)
        first = aggregate(local, mask)
        torch.manual_seed(3)
        assert torch.allclose(first, aggregate(noisy, mask), atol=1e-5)
    aggregate.eval()
    assert torch.allclose(aggregate(local, mask)[1], aggregate(local[1:, :5])[0], atol=1e-5)


def test_both_refinement_orders_share_their_parameters_and_differ():
    code, paper = (build("token_mobilenetv2", {"refine_order": order}).eval() for order in ("code", "paper"))
    assert code.state_dict().keys() == paper.state_dict().keys()
    for network in (code, paper):
        for name, parameter in network.named_parameters():
            if "project" in name and parameter.ndim == 2:
                nn.init.normal_(parameter, std=0.05, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert not torch.allclose(code(images()), paper(images()), atol=1e-3)


def test_unknown_variants_are_refused_by_name():
    with pytest.raises(ConfigError, match=r'no variant "caffe".*tf, torch, token'):
        create_model("delg_resnet50", variant="caffe")
    with pytest.raises(ConfigError, match="tokenizer"):
        create_model("token_mobilenetv2", tokenizer="vq")
    with pytest.raises(ConfigError, match="no system"):
        create_model("glocal_mobilenetv2", system="delg")
    with pytest.raises(ConfigError, match=r"does not take these options.*'margin'"):
        create_model("dolg_mobilenetv2", margin=0.1)


def test_the_context_of_local_cells_begins_as_the_identity():
    plain, wider = (build("delg_mobilenetv2", {"context": blocks}).eval() for blocks in (0, 2))
    wider.load_state_dict(plain.state_dict(), strict=False)
    with torch.no_grad():
        assert torch.equal(plain(images()).local, wider(images()).local)


def test_only_descriptors_of_cells_send_a_gradient_to_their_context():
    """What the attention and the autoencoder learn must not move the map that they read (DELG, section 3.4)."""
    made = build("delg_mobilenetv2", {"context": 1})
    context = list(made.local_head.context.parameters())
    output = made(images())
    (output.pooled.sum() + output.attention.sum() + output.reconstruction).backward()
    assert all(parameter.grad is None for parameter in context)
    made(images()).local.sum().backward()
    assert any(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in context)
    assert all(parameter.grad is None for parameter in made.backbone.parameters())
