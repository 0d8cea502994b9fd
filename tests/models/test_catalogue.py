import pytest

from glocal.errors import ConfigError
from glocal.models.catalogue import CATALOGUE, DEFAULT_MODEL, create_model, find_model


def test_every_card_is_complete_and_builds_what_it_names():
    for name, card in CATALOGUE.items():
        assert card.name == name
        assert card.summary
        assert card.licence
        assert card.trained_on
        assert create_model(name).spec.model == name
    assert DEFAULT_MODEL in CATALOGUE


def test_a_mistyped_name_gets_the_nearest_one():
    with pytest.raises(ConfigError, match=r'Unknown model "rootsfit"\. Did you mean rootsift\? → glocal models'):
        find_model("rootsfit")
