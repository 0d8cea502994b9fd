"""The recipes in the repository, the page about them, and what happens to a recipe with a mistake."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from glocal.errors import ConfigError
from glocal.models.catalogue import create_model
from glocal.train.recipe import Recipe, load_recipe

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))
ON_LANDMARKS = [path for path in RECIPES if path.stem.endswith("_gldv2")]
PAGE = (ROOT / "docs/reproduction.md").read_text("utf-8")

named = pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
named_on_landmarks = pytest.mark.parametrize("path", ON_LANDMARKS, ids=lambda path: path.stem)


def recipe_of(name):
    return load_recipe(ROOT / f"recipes/{name}_gldv2.toml")


@named
def test_every_recipe_is_valid_and_named_like_its_file(path):
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.about
    assert recipe.model.name in path.stem.replace("_torch_", "_")


@named
def test_every_network_of_a_recipe_can_be_built(path):
    model = load_recipe(path).model
    with torch.device("meta"):
        network = create_model(model.name, **model.options)
    assert network.dim > 0


def test_there_is_a_recipe_for_each_published_row():
    assert {path.stem.removesuffix("_gldv2") for path in ON_LANDMARKS} == {
        *("delg_resnet50", "delg_resnet101", "delg_torch_resnet50", "dolg_resnet50", "dolg_resnet101"),
        *("token_resnet50", "token_resnet101", "gem_resnet50", "glocal_resnet50"),
    }


@pytest.mark.parametrize("depth", [50, 101])
def test_delg_is_trained_as_by_its_tensorflow_code(depth):
    recipe = recipe_of(f"delg_resnet{depth}")
    augment, loss, optimiser = recipe.augment, recipe.loss, recipe.optimiser
    assert recipe.model.options == {"variant": "tf"}
    assert (recipe.data.image_size, recipe.data.clean, recipe.run.batch_size) == (321, True, 32)
    assert (augment.area, augment.aspect) == ((0.08, 1.0), (0.75, pytest.approx(4 / 3)))
    assert (augment.flip, augment.lighting, augment.jitter) == (0, 0, (0, 0, 0, 0))
    assert (loss.head, loss.margin, loss.learn_scale) == ("arcface", 0.1, False)
    assert loss.scale == pytest.approx(2048**0.5, abs=0.005)
    assert (loss.attention_weight, loss.reconstruction_weight) == (1, 10)
    assert (optimiser.lr, optimiser.momentum, optimiser.nesterov) == (0.01, 0.9, False)
    assert (optimiser.weight_decay, optimiser.clip_norm) == (0, 10)
    assert (recipe.schedule.kind, recipe.schedule.steps, recipe.schedule.warmup_epochs) == ("linear", 500_000, 0)


@pytest.mark.parametrize("name", ["delg_torch_resnet50", "dolg_resnet50", "dolg_resnet101", "gem_resnet50"])
def test_the_family_of_dolg_is_trained_as_by_its_code(name):
    recipe = recipe_of(name)
    augment, optimiser, schedule = recipe.augment, recipe.optimiser, recipe.schedule
    assert (recipe.data.image_size, recipe.data.clean, recipe.run.batch_size) == (512, True, 64)
    assert (augment.area, augment.aspect) == ((0.08, 1.0), (0.75, pytest.approx(4 / 3)))
    assert (augment.flip, augment.lighting, augment.jitter) == (0.5, 0.1, (0, 0, 0, 0))
    assert recipe.loss.head == ("arcface" if name.startswith("gem") else "curricular")
    assert (recipe.loss.margin, recipe.loss.scale, recipe.loss.learn_scale) == (0.15, 30, False)
    assert (optimiser.lr, optimiser.momentum, optimiser.nesterov) == (0.01, 0.9, True)
    assert (optimiser.weight_decay, optimiser.decay_vectors, optimiser.clip_norm) == (1e-4, True, 0)
    assert (schedule.kind, schedule.epochs, schedule.steps, schedule.per_epoch) == ("cosine", 100, 0, True)
    assert (schedule.warmup_epochs, schedule.warmup_factor) == (5, 0.1)
    assert recipe.run.sync_bn is False


@pytest.mark.parametrize("depth", [50, 101])
def test_token_is_trained_as_by_its_code(depth):
    recipe = recipe_of(f"token_resnet{depth}")
    augment, optimiser, schedule = recipe.augment, recipe.optimiser, recipe.schedule
    assert (recipe.data.image_size, recipe.data.clean, recipe.run.batch_size) == (512, True, 128)
    assert (augment.area, augment.aspect) == ((0.2, 1.0), (0.75, pytest.approx(4 / 3)))
    assert (augment.flip, augment.jitter, augment.jitter_probability) == (0.5, (0.4, 0.4, 0.2, 0.1), 0.8)
    assert (recipe.loss.head, recipe.loss.margin, recipe.loss.scale) == ("arcface", 0.2, 1024**0.5)
    assert optimiser.lr == pytest.approx(0.01 * 32 / 256)  # its code scales with the photos of one of four GPUs
    assert optimiser.lr * schedule.warmup_factor == pytest.approx(1.25e-5)
    assert (optimiser.momentum, optimiser.nesterov, optimiser.clip_norm) == (0.9, True, 0)
    assert (optimiser.weight_decay, optimiser.decay_vectors) == (1e-4, False)
    assert (schedule.kind, schedule.epochs, schedule.warmup_epochs, schedule.per_epoch) == ("cosine", 30, 5, False)
    assert recipe.run.sync_bn is True


@pytest.mark.parametrize("family", ["delg", "dolg", "token"])
def test_the_two_depths_of_a_system_differ_in_their_network_alone(family):
    small, large = (recipe_of(f"{family}_resnet{depth}") for depth in (50, 101))
    for part in ("data", "augment", "loss", "optimiser", "schedule", "run"):
        assert getattr(small, part) == getattr(large, part)
    assert small.model.options == large.model.options


def test_a_recipe_survives_its_own_json(tmp_path):
    recipe = load_recipe(RECIPES[0], ["run.batch_size=16", "loss.head=cosface", 'data.only={tier=["A"]}'])
    assert (recipe.run.batch_size, recipe.loss.head, recipe.data.only) == (16, "cosface", {"tier": ["A"]})
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    assert load_recipe(tmp_path / "recipe.json") == recipe


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.batchsize=3", r'Unknown key "run.batchsize".*Did you mean run.batch_size'),
        ("optimizer.lr=3", r'Unknown key "optimizer".*Did you mean optimiser'),
        ("loss.scales=3", r'Unknown key "loss.scales".*Did you mean loss.scale'),
        ("schedule.xyz=3", r'Unknown key "schedule.xyz".*Known: kind, epochs'),
        ("run.batch_size=many", r"run.batch_size must be of type int, not 'many'"),
        ("run.batch_size=0", "run.batch_size must be positive"),
        ("run.accumulate=7", "must divide run.batch_size"),
        ("data.held_back=1.5", "held_back must lie in"),
        ("augment.area=[0.1]", "augment.area must be of type"),
        ("loss.head=triplet", "loss.head must be one of arcface"),
        ("model.name=delg-r51", 'Unknown model "delg-r51"'),
        ("name.first=3", "name is a value, not a table"),
        ("batch", "is not an override"),
    ],
)
def test_a_mistake_is_named_with_what_was_meant(override, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe(RECIPES[0], [override])


def test_an_override_reaches_the_options_of_a_network():
    path = ROOT / "recipes/dolg_resnet50_gldv2.toml"
    assert load_recipe(path, ["model.options.multi_atrous=false"]).model.options == {"multi_atrous": False}


def test_files_that_are_no_recipe_are_told(tmp_path):
    with pytest.raises(ConfigError, match="No such recipe"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(ConfigError, match="is not a recipe"):
        load_recipe(tmp_path / "bad.toml")


def test_defaults_make_a_recipe():
    assert Recipe().schedule.kind == "cosine"


@named_on_landmarks
def test_the_page_has_a_command_and_a_true_row_for_every_recipe(path):
    assert f"$ glocal train recipes/{path.name} data.path=gldv2" in PAGE
    recipe = load_recipe(path)
    cells = re.search(rf"^\| \[{path.stem}\]\(\S+\) \| (.*) \|$", PAGE, re.MULTILINE)[1].split(" | ")
    steps, epochs = recipe.schedule.steps, recipe.schedule.epochs
    assert cells[:3] == [
        str(recipe.run.batch_size),
        f"{steps:,} steps" if steps else f"{epochs:.0f} epochs",
        str(recipe.data.image_size),
    ]


def test_the_commands_of_the_page_are_understood():
    commands = re.findall(r"^\$ glocal train (.+)$", PAGE, re.MULTILINE)
    assert len(commands) > len(ON_LANDMARKS) + 1
    for command in commands:
        recipe, *overrides = shlex.split(command.partition(" --out ")[0])
        load_recipe(ROOT / recipe, overrides)


def test_the_settings_of_the_papers_are_understood():
    rows = re.findall(r"^\| (DELG|DOLG|Token|all).* \| `([^`]+=[^`]+)`", PAGE, re.MULTILINE)
    assert len(rows) == 6
    for system, settings in rows:
        name = "delg" if system == "all" else system.lower()
        load_recipe(ROOT / f"recipes/{name}_resnet50_gldv2.toml", settings.split())


def test_the_links_of_the_page_exist():
    targets = re.findall(r"\]\(([^)#:]+)\)", PAGE)
    assert len(targets) > len(ON_LANDMARKS)
    for target in targets:
        assert (ROOT / "docs" / target).exists(), target


def test_the_page_says_that_nothing_on_it_was_run():
    assert "None of these recipes has been run on GLDv2 here" in PAGE
