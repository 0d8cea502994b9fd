"""timm needs a torchvision that fits torch, which few machines have: a stand-in shows what we ask of it."""

import sys
import types

import pytest
import torch
from torch import nn

from glocal.errors import BackendUnavailable, ConfigError
from glocal.models.catalogue import create_model


class Features(nn.Module):
    """What `timm.create_model(features_only=True)` gives: maps at growing strides."""

    def __init__(self, strides, levels, output_fmt="NCHW") -> None:
        super().__init__()
        self.output_fmt = output_fmt
        kept = [strides[level] for level in levels]
        self.feature_info = types.SimpleNamespace(reduction=lambda: kept, channels=lambda: [2 * each for each in kept])
        self.convolutions = nn.ModuleList(nn.Conv2d(3, 2 * stride, 1, stride) for stride in kept)

    def forward(self, images):
        maps = [convolution(images) for convolution in self.convolutions]
        return [each.movedim(1, 3) for each in maps] if self.output_fmt == "NHWC" else maps


@pytest.fixture
def timm(monkeypatch):
    strides = {"convnext_tiny": [4, 8, 16, 32], "swin_tiny": [4, 8, 16, 32], "stem_only": [2, 4]}

    def build(name, features_only, out_indices=None, pretrained=False):
        if name not in strides:
            raise RuntimeError(f"Unknown model ({name})")
        assert features_only
        order = "NHWC" if name.startswith("swin") else "NCHW"
        return Features(strides[name], out_indices or range(len(strides[name])), order)

    module = types.ModuleType("timm")
    module.create_model = build
    monkeypatch.setitem(sys.modules, "timm", module)


@pytest.mark.parametrize("name", ["convnext_tiny", "swin_tiny"])
def test_a_timm_model_gives_its_maps_at_strides_16_and_32_in_either_order(timm, name):
    network = create_model(f"delg_timm:{name}").eval()
    assert network.backbone.channels == (32, 64)
    with torch.no_grad():
        output = network(torch.randn(1, 3, 64, 96))
    assert output.attention.shape == (1, 1, 4, 6)
    assert output.descriptor.shape == (1, network.dim)


def test_a_timm_model_without_these_maps_or_of_an_unknown_name_is_refused(timm):
    with pytest.raises(ConfigError, match=r"maps at strides .2, 4.; 16 and 32 are needed"):
        create_model("gem_timm:stem_only")
    with pytest.raises(ConfigError, match=r"timm has no model 'vgg99'.*timm\.list_models"):
        create_model("gem_timm:vgg99")


@pytest.mark.parametrize("failure", [ImportError("No module named 'timm'"), RuntimeError("operator nms")])
def test_a_missing_or_broken_timm_is_a_clear_error(monkeypatch, failure):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "timm":
                raise failure

    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(BackendUnavailable, match=r"pip install 'glocal\[timm\]'"):
        create_model("gem_timm:convnext_tiny")
