"""The model card: README.md of a model's folder, with the front matter that model hubs read.

What nobody told is "not stated", never guessed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

UNKNOWN = "not stated"
_PROTOCOL = {
    "roxford_medium": ("ROxford5k", "Medium"),
    "roxford_hard": ("ROxford5k", "Hard"),
    "rparis_medium": ("RParis6k", "Medium"),
    "rparis_hard": ("RParis6k", "Hard"),
}
_TAGS = ("image-retrieval", "instance-retrieval", "landmark", "re-ranking")
_FRONT = """\
---
library_name: glocal
pipeline_tag: image-feature-extraction
tags: {tags}
license: other
license_name: {licence}
datasets: {datasets}
base_model: {base_model}
---
"""
_BODY = """\
# {name}

{summary}

```python
import glocal

model = glocal.load({folder!r})
```

| | |
|---|---|
| Paper | {paper} |
| Options | {options} |
| Converted from | {origin} |
| Licence of the weights | {licence} |
| Trained on | {trained_on} |
| Base model | {base_model} |
| Licence of the code | {code_licence} |
{source}
**For** finding photos of the same thing: a building, a painting, a product.
**Not for** faces and people: it knows neither.

Google Landmarks v2, on which the published systems were trained, consists of photos under individual
licences; a licence of these weights does not change those.
{published}{notes}"""


def render_card(name: str, options: Mapping[str, Any], card: Mapping[str, Any], source: Mapping[str, Any]) -> str:
    """The text of README.md.

    Args:
        name: catalogue name.
        options: those of `create_model`.
        card: any of `summary`, `paper`, `licence` (of the code), `weights_licence`, `trained_on`, `datasets`,
            `base_model`, `converted_from`, `published` (protocol -> mAP in percent), `notes` (a list).
        source: where the tensors come from; `file`, `sha256` and others, shown as they are.

    Returns:
        Markdown.
    """
    published = {key: card.get("published", {}).get(key) for key in _PROTOCOL}
    reported = {key: value for key, value in published.items() if value is not None}
    known = {key: str(card.get(key) or UNKNOWN) for key in ("paper", "trained_on", "base_model", "weights_licence")}
    front = _FRONT.format(
        tags=json.dumps(_TAGS),
        licence=_quoted(known["weights_licence"]),
        datasets=json.dumps([str(entry) for entry in card.get("datasets", [])] or [UNKNOWN], ensure_ascii=False),
        base_model=_quoted(known["base_model"]),
    )
    body = _BODY.format(
        name=name,
        folder="path/of/this/folder",
        summary=card.get("summary", ""),
        paper=_cell(known["paper"]),
        options=_cell(", ".join(f"{key}={value}" for key, value in options.items()) or "none"),
        origin=_cell(card.get("converted_from") or "not converted: trained here"),
        licence=_cell(known["weights_licence"]),
        trained_on=_cell(known["trained_on"]),
        base_model=_cell(known["base_model"]),
        code_licence=_cell(card.get("licence") or UNKNOWN),
        source="".join(f"| Source: {_cell(key)} | {_cell(value)} |\n" for key, value in source.items()),
        published=_published(reported),
        notes="".join(f"\n{note}\n" for note in card.get("notes", [])),
    )
    return front + body


def _published(reported: Mapping[str, float]) -> str:
    if not reported:
        return ""
    rows = "".join(f"| {' '.join(_PROTOCOL[key])} | {value:.2f} |\n" for key, value in reported.items())
    return (
        "\nReported by the authors for their own weights (mAP in percent, cropped queries, global descriptor alone).\n"
        "This folder was not measured, and its names do not prove that it holds those weights; so the front matter\n"
        "has no `model-index`.\n\n| Protocol | mAP |\n|---|---|\n" + rows
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # a JSON text is a YAML text


def _cell(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
