"""The README and the guarantees name what exists."""

import inspect
import re
from pathlib import Path

import pytest

import glocal
from glocal.cli.main import VERBS
from glocal.errors import REASONS
from glocal.models import baselines, delg, dolg, token
from glocal.models import glocal as joint
from glocal.nn import local_heads
from tests.conftest import save, texture

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
GUARANTEES = (ROOT / "docs/guarantees.md").read_text("utf-8")
MODELS = (ROOT / "docs/models.md").read_text("utf-8")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_in_the_readme(verb):
    assert re.search(rf"`(glocal )?{verb}\b", README)


@pytest.mark.parametrize("code", REASONS)
def test_every_reason_is_in_the_guarantees(code):
    assert f"`{code}`" in GUARANTEES


def test_links_and_named_test_files_exist():
    for text, folder in ((README, ROOT), (GUARANTEES, ROOT / "docs"), (MODELS, ROOT / "docs")):
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (folder / target).exists(), target
        for target in re.findall(r"`(tests/[\w/]+\.py)`", text):
            assert (ROOT / target).exists(), target


def test_the_files_of_the_readme_exist():
    tree = README.split("## Files")[1].split("```")[1]
    names = re.findall(r"\b[\w-]+\.(?:py|md)\b", tree)
    assert len(names) > 20
    for name in names:
        places = [ROOT / "src", ROOT / "scripts", ROOT / "benchmarks", ROOT / "docs"]
        assert any(list(place.rglob(name)) for place in places), name


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        save(tmp_path / f"catalogue/thing{seed}/front.jpg", texture(seed, 480, 360))
    save(tmp_path / "query.jpg", texture(1, 480, 360)[20:340, 20:460])
    snippet = re.search(r"```python\n(.*?)```", README, re.DOTALL).group(1)
    assert snippet.count("\n") <= 8
    scope = {}
    exec(compile(snippet, "README.md", "exec"), scope)
    assert (tmp_path / "why.png").stat().st_size > 10_000
    scope["index"].close()


def test_the_python_of_the_models_page_runs(capsys):
    exec(compile(re.search(r"```python\n(.*?)```", MODELS, re.DOTALL).group(1), "models.md", "exec"), {})
    assert "torch.Size([2, 256])" in capsys.readouterr().out


@pytest.mark.parametrize(
    "option", re.findall(r"^\| [^|]+ \| (`.+?) \|", MODELS.split("## Variants")[1].split("##")[0], re.M)
)
def test_every_option_of_the_models_page_is_a_parameter_of_a_builder(option):
    parts = (delg.delg, delg.Delg, dolg.dolg, dolg.Dolg, token.token, token.TokenAggregator, joint.glocal)
    parts += (baselines.pooled_backbone, local_heads.AutoencoderHead, local_heads.LinearHead)
    known = {name for part in parts for name in inspect.signature(part).parameters}
    assert set(re.findall(r"`(\w+)`", option)) <= known


def test_the_changelog_names_this_version():
    assert f"## {glocal.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")
