"""Any timm model with feature maps at stride 16 and 32, by name (optional dependency timm)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from glocal.errors import BackendUnavailable, ConfigError
from glocal.nn.feature_maps import Backbone, FeatureMaps

_STRIDES = (16, 32)


class TimmBackbone(Backbone):
    """A timm model cut to its maps at stride 16 and 32.

    Args:
        name: what `timm.list_models()` gives, for example "convnext_tiny".
        **options: passed on to `timm.create_model`; `pretrained=True` downloads weights.

    Raises:
        BackendUnavailable: timm is not installed, or cannot be imported.
        ConfigError: timm has no such model, or the model has no such maps.
    """

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__()
        try:
            import timm  # noqa: PLC0415 - optional
        except (ImportError, RuntimeError) as error:  # RuntimeError: a torchvision that does not fit this torch
            raise BackendUnavailable(
                f"timm:{name} needs timm and a torchvision that fits torch ({error}) → pip install 'glocal[timm]'"
            ) from error
        try:
            probe = timm.create_model(name, features_only=True, pretrained=False)
        except RuntimeError as error:
            raise ConfigError(f"timm has no model '{name}' with feature maps ({error}) → timm.list_models()") from error
        strides = probe.feature_info.reduction()
        if any(stride not in strides for stride in _STRIDES):
            raise ConfigError(f"timm:{name} has maps at strides {strides}; 16 and 32 are needed → another model")
        levels = tuple(len(strides) - 1 - strides[::-1].index(stride) for stride in _STRIDES)
        self.model = timm.create_model(name, features_only=True, out_indices=levels, **options)
        c4, c5 = self.model.feature_info.channels()
        self.channels = (c4, c5)
        self.min_side = 32
        order = getattr(self.model, "output_fmt", "NCHW")
        self._channels_last = getattr(order, "value", order) == "NHWC"  # Swin and its like

    def forward(self, images: Tensor) -> FeatureMaps:
        """(B, 3, H, W) normalised RGB -> the maps at stride 16 and 32."""
        c4, c5 = self.model(images)
        return FeatureMaps(c4.movedim(3, 1), c5.movedim(3, 1)) if self._channels_last else FeatureMaps(c4, c5)
