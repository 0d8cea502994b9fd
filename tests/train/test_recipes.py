"""The recipes in the repository, and what happens to one with a mistake."""

from pathlib import Path

import pytest

from glocal.errors import ConfigError
from glocal.train.recipe import Recipe, load_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_named_like_its_file(path):
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.about
    assert recipe.model.name in path.stem


def test_the_published_constants_are_those_of_the_released_codes():
    dolg, token, delg = (
        load_recipe(RECIPES[0].with_name(f"{name}_resnet50_gldv2.toml")) for name in ("dolg", "token", "delg")
    )
    assert (dolg.loss.head, dolg.loss.margin, dolg.loss.scale, dolg.optimiser.lr) == ("curricular", 0.15, 30, 0.01)
    assert (dolg.schedule.epochs, dolg.schedule.warmup_epochs, dolg.schedule.per_epoch) == (100, 5, True)
    assert (token.loss.margin, token.loss.scale, token.run.batch_size) == (0.2, 32, 128)
    assert token.optimiser.lr == pytest.approx(0.01 * 32 / 256)
    assert (delg.loss.margin, delg.loss.scale, delg.optimiser.clip_norm) == (0.1, 45.25, 10)
    assert (delg.schedule.kind, delg.schedule.steps, delg.augment.flip) == ("linear", 500_000, 0)


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
        ("run.batch_size=many", r"run.batch_size must be of type int, not 'many'"),
        ("run.batch_size=0", "run.batch_size must be positive"),
        ("run.accumulate=7", "must divide run.batch_size"),
        ("data.held_back=1.5", "held_back must lie in"),
        ("augment.area=[0.1]", "augment.area must be of type"),
        ("loss.head=triplet", "loss.head must be one of arcface"),
        ("model.name=delg-r51", 'Unknown model "delg-r51"'),
        ("batch", "is not an override"),
    ],
)
def test_a_mistake_is_named_with_what_was_meant(override, message):
    with pytest.raises(ConfigError, match=message):
        load_recipe(RECIPES[0], [override])


def test_files_that_are_no_recipe_are_told(tmp_path):
    with pytest.raises(ConfigError, match="No such recipe"):
        load_recipe(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(ConfigError, match="is not a recipe"):
        load_recipe(tmp_path / "bad.toml")


def test_defaults_make_a_recipe():
    assert Recipe().schedule.kind == "cosine"
