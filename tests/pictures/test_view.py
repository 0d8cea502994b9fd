"""A view of a match is consistent."""

from __future__ import annotations

import numpy as np
import pytest

from glocal.errors import ShapeError
from glocal.pictures.view import MatchView


def test_a_view_with_unequal_lengths_is_refused() -> None:
    with pytest.raises(ShapeError, match="match points"):
        MatchView(
            (9, 9),
            (9, 9),
            np.zeros((2, 2), np.float32),
            np.zeros((3, 2), np.float32),
            np.ones(2, np.bool_),
            None,
            None,
            None,
        )
