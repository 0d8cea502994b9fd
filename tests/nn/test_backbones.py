import pytest
import torch

from glocal.errors import ConfigError
from glocal.models.catalogue import preprocessing_of
from glocal.nn.backbone import BACKBONES, create_backbone
from glocal.nn.resnet import VARIANTS, ResNet, _same_padding

SIDES = [(1, 1), (17, 33), (64, 96), (65, 31)]


@pytest.mark.parametrize(("height", "width"), SIDES)
@pytest.mark.parametrize("name", BACKBONES)
def test_maps_have_strides_8_16_and_32_rounded_up(name, height, width):
    backbone = create_backbone(name).eval()
    with torch.no_grad():
        c4, c5, c3 = backbone(torch.randn(1, 3, height, width))
    assert c3.shape == (1, backbone.c3_channels, -(-height // 8), -(-width // 8))
    assert c4.shape == (1, backbone.channels[0], -(-height // 16), -(-width // 16))
    assert c5.shape == (1, backbone.channels[1], -(-height // 32), -(-width // 32))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_resnet_variant_has_a_cell_at_its_least_side(variant):
    backbone = ResNet(50, variant).eval()
    with torch.no_grad():
        maps = backbone(torch.randn(1, 3, backbone.min_side, backbone.min_side))
    assert min(side for level in maps for side in level.shape[2:]) >= 1


def test_the_subsampled_variant_keeps_the_stride_of_the_last_stage():
    images = torch.randn(1, 3, 160, 224)
    with torch.no_grad():
        plain, subsampled = (ResNet(50, variant).eval()(images) for variant in ("keras", "keras_subsampled"))
    assert plain.c4.shape[2:] == (10, 14)
    assert subsampled.c4.shape[2:] == subsampled.c5.shape[2:] == plain.c5.shape[2:] == (5, 7)


def test_parameters_carry_torchvision_names_and_numbers():
    names = {name for name, _ in create_backbone("resnet50").named_parameters()}
    assert {"conv1.weight", "bn1.bias", "layer1.0.downsample.0.weight", "layer3.5.conv3.weight"} <= names
    assert not any("conv" in name and name.endswith("bias") for name in names)
    # ResNet-50 and -101 without the classifier of 2,049,000; MobileNetV2 without that of 1,281,000.
    counts = {name: sum(p.numel() for p in create_backbone(name).parameters()) for name in BACKBONES}
    assert counts == {"resnet50": 23_508_032, "resnet101": 42_500_160, "mobilenetv2": 2_223_872}
    mobile = {name for name, _ in create_backbone("mobilenetv2").named_parameters()}
    assert {"features.0.0.weight", "features.1.conv.1.weight", "features.14.conv.0.0.weight"} <= mobile
    assert "features.18.1.bias" in mobile


def test_the_stride_sits_where_the_variant_says():
    torchvision, caffe = ResNet(50), ResNet(50, "caffe")
    assert (torchvision.layer2[0].conv1.stride, torchvision.layer2[0].conv2.stride) == ((1, 1), (2, 2))
    assert (caffe.layer2[0].conv1.stride, caffe.layer2[0].conv2.stride) == ((2, 2), (1, 1))


@pytest.mark.parametrize("side", range(1, 40))
def test_same_padding_gives_half_the_side_rounded_up(side):
    before, after = _same_padding(side)
    assert 0 <= after - before <= 1
    assert (side + before + after - 7) // 2 + 1 == -(-side // 2)


def test_unknown_backbones_and_variants_are_refused():
    with pytest.raises(ConfigError, match="Unknown backbone"):
        create_backbone("vgg16")
    with pytest.raises(ConfigError, match="mobilenetv2 is no ResNet"):
        create_backbone("mobilenetv2", "caffe")
    with pytest.raises(ConfigError, match="no ResNet-34"):
        ResNet(34)
    with pytest.raises(ConfigError, match="variant 'slim'"):
        ResNet(50, "slim")
    with pytest.raises(ConfigError, match='local_map must be one of c4, c3 with this backbone, not "c5"'):
        create_backbone("mobilenetv2").local_channels("c5")


@pytest.mark.parametrize("name", BACKBONES)
def test_a_cell_of_c3_sees_as_much_as_the_catalogue_says(name):
    """Gradients of one inner cell reach exactly the pixels of its field, centred at 8 times its place."""
    backbone = create_backbone(name).eval()
    for module in backbone.modules():  # a residual block begins as the identity, which sees nothing
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
    images = torch.randn(1, 3, 160, 160, requires_grad=True)
    backbone(images).c3[0, :, 10, 10].sum().backward()
    seen = images.grad.abs().sum(dim=(0, 1))
    rows = torch.nonzero(seen.sum(dim=1))[:, 0]
    local = preprocessing_of(f"delg_{name}", local_map="c3", context=0).local
    assert (local.stride, local.padding) == (8, local.receptive_field // 2)
    assert (int(rows.min()), int(rows.max())) == (80 - local.padding, 80 + local.padding)
