import math

import pytest

from glocal.train.recipe import SchedulePart
from glocal.train.schedule import learning_rate, total_steps


def test_the_length_is_counted_in_steps_or_epochs():
    assert total_steps(SchedulePart(steps=500_000, epochs=1.0), 100) == 500_000
    assert total_steps(SchedulePart(epochs=2.5), 100) == 250
    assert total_steps(SchedulePart(epochs=0.001), 10) == 1


def test_the_tensorflow_delg_falls_linearly_to_zero():
    part = SchedulePart(kind="linear", steps=1000)
    for step in (0, 1, 500, 999):
        assert learning_rate(part, 0.01, step, 10) == pytest.approx(0.01 * (1 - step / 1000))
    assert learning_rate(part, 0.01, 1000, 10) == 0


def test_dolg_sets_the_rate_once_per_epoch_and_its_warm_up_multiplies_the_cosine():
    part = SchedulePart(kind="cosine", epochs=100, warmup_epochs=5, warmup_factor=0.1, per_epoch=True)
    for epoch in range(100):
        expected = 0.5 * 0.01 * (1 + math.cos(math.pi * epoch / 100))
        if epoch < 5:
            expected *= 0.1 + 0.9 * epoch / 5
        for step in (0, 7, 19):
            assert learning_rate(part, 0.01, 20 * epoch + step, 20) == pytest.approx(expected)


def test_token_rises_step_by_step_and_its_cosine_begins_after_the_warm_up():
    part = SchedulePart(kind="cosine", epochs=30, warmup_epochs=5, warmup_factor=0.01)
    rates = [learning_rate(part, 0.00125, step, 20) for step in range(600)]
    rise, fall = rates[:100], rates[100:]
    assert rise == pytest.approx([1.25e-5 + (0.00125 - 1.25e-5) * step / 99 for step in range(100)])
    assert fall == pytest.approx([0.000625 * (1 + math.cos(math.pi * step / 500)) for step in range(500)])


@pytest.mark.parametrize("per_epoch", [False, True])
@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
def test_no_schedule_is_negative_or_above_the_peak_even_past_its_end(kind, per_epoch):
    for warmup in (0.0, 0.1, 1.5, 9.0):
        part = SchedulePart(kind=kind, epochs=3, warmup_epochs=warmup, warmup_factor=0.0, per_epoch=per_epoch)
        assert all(0 <= learning_rate(part, 0.5, step, 7) <= 0.5 for step in range(40))


def test_a_constant_rate_is_constant():
    assert learning_rate(SchedulePart(kind="constant"), 0.3, 12345, 7) == 0.3


def test_a_short_trial_of_a_long_run_stays_in_its_warm_up():
    part = SchedulePart(steps=200, warmup_epochs=5, warmup_factor=0.1, per_epoch=True)
    assert [learning_rate(part, 0.01, step, 25_000) for step in range(200)] == pytest.approx([0.001] * 200)
