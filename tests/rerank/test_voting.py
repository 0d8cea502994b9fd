import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glocal.errors import ConfigError, ShapeError
from glocal.rerank.bands import Band
from glocal.rerank.voting import Verdict, Voter, VotingOptions, fit_threshold, image_score, vote

SAME, POSSIBLY, ALIKE = Band.SAME, Band.POSSIBLY, Band.LOOK_ALIKE
VERIFIED = st.builds(
    Voter,
    st.sampled_from(["arch", "bell", "cup", None]),
    st.floats(-1, 1, width=32),
    st.integers(0, 200),
)


def test_a_verified_photo_is_worth_its_share_of_the_cap_and_a_quarter_of_its_similarity():
    assert image_score(0.4, 35) == pytest.approx(0.5 + 0.1)
    assert image_score(0.4, 70) == image_score(0.4, 500) == pytest.approx(1.1)
    assert image_score(0.8, 0) == pytest.approx(0.2)
    assert image_score(0.4, None) == 0.4
    assert image_score(0.4, 10, VotingOptions(inlier_cap=20, alpha=1)) == pytest.approx(0.9)


def test_a_class_gets_the_sum_of_its_photos_and_names_them():
    voters = [Voter("bell", 0.6, 70), Voter("arch", 0.8, 42), Voter("arch", 0.4, 28), Voter("cup", 0.9, 0)]
    found = vote(voters)
    # arch: 0.6 + 0.2 + 0.4 + 0.1; bell: 1 + 0.15; cup: 0.225
    assert [(each.label, each.evidence) for each in found.votes] == [("arch", (1, 2)), ("bell", (0,)), ("cup", (3,))]
    assert [each.score for each in found.votes] == pytest.approx([1.3, 1.15, 0.225])
    assert (found.label, found.verdict, found.rejected, found.reason) == ("arch", Verdict.NOT_JUDGED, False, "")
    assert found.score == found.votes[0].score


def test_only_the_first_k_labelled_hits_vote():
    voters = [Voter("bell", 0.5, 40), Voter("arch", 0.5, 35), Voter("arch", 0.5, 34)]
    assert vote(voters, VotingOptions(k=2)).label == "bell"
    assert vote(voters, VotingOptions(k=3)).label == "arch"


def test_a_hit_without_a_label_takes_no_seat():
    voters = [Voter(None, 0.9, 90), Voter(None, 0.9, 80), Voter("arch", 0.5, 35)]
    found = vote(voters, VotingOptions(k=1))
    assert (found.label, found.votes[0].evidence) == ("arch", (2,))


def test_a_hit_that_was_not_verified_does_not_outweigh_one_that_was():
    voters = [Voter("bell", 0.5, 14), Voter("arch", 0.9, None)]  # 0.2 + 0.125 against 0 + 0.225, not 0.9
    found = vote(voters)
    assert found.label == "bell"
    assert found.votes[1].score == pytest.approx(0.225)
    assert vote([Voter("bell", 0.5), Voter("arch", 0.9)]).votes[0].score == pytest.approx(0.9)


def test_equal_classes_are_ordered_by_label_and_numbers_as_numbers():
    assert [each.label for each in vote([Voter("bell", 0.5), Voter("arch", 0.5)]).votes] == ["arch", "bell"]
    assert [each.label for each in vote([Voter(10, 0.5), Voter(9, 0.5)]).votes] == [9, 10]


def test_one_sure_photo_goes_before_many_look_alikes():
    alike = [Voter("bell", 0.6, 20, ALIKE)] * 4
    found = vote([Voter("arch", 0.6, 44, SAME), *alike])
    assert [each.score for each in found.votes] == pytest.approx([44 / 70 + 0.15, 4 * (20 / 70 + 0.15)])
    assert (found.label, found.verdict) == ("arch", Verdict.SAME)


def test_a_class_is_as_sure_as_its_best_photo():
    found = vote([Voter("arch", 0.6, 10, ALIKE), Voter("arch", 0.5, 30, POSSIBLY), Voter("bell", 0.5, 40, ALIKE)])
    assert (found.label, found.verdict, found.votes[0].band) == ("arch", Verdict.POSSIBLY, POSSIBLY)
    assert not found.rejected


def test_look_alikes_alone_are_unknown_and_stay_candidates():
    found = vote([Voter("arch", 0.6, 10, ALIKE), Voter("bell", 0.5, 3, ALIKE)])
    assert (found.label, found.verdict, found.rejected) == (None, Verdict.UNKNOWN, True)
    assert found.reason == "no labelled photo shows this object"
    assert found.votes[0].label == "arch"
    assert found.score == pytest.approx(10 / 70 + 0.15)


def test_a_score_below_the_threshold_is_unknown_and_at_it_is_not():
    voters = [Voter("arch", 0.5, 35, SAME)]
    assert vote(voters, VotingOptions(least=0.625)).label == "arch"
    found = vote(voters, VotingOptions(least=0.7))
    assert (found.label, found.reason) == (None, "the score 0.625 is below the threshold 0.7")
    assert vote([Voter("arch", 0.3)], VotingOptions(least=0.5)).label is None


def test_nobody_votes_where_nothing_has_a_label():
    for voters in ([], [Voter(None, 0.9, 80, SAME)]):
        found = vote(voters)
        assert (found.label, found.score, found.votes) == (None, 0.0, ())
        assert found.reason == "no photo with a label was found"


@given(st.lists(VERIFIED, max_size=12), st.integers(1, 12))
def test_it_is_the_sum_of_the_papers(voters, k):
    expected = {}
    left = k
    for voter in voters:
        if voter.label is not None and left:
            left -= 1
            expected.setdefault(voter.label, []).append(min(voter.inliers, 70) / 70 + 0.25 * voter.similarity)
    found = vote(voters, VotingOptions(k=k))
    assert {each.label: each.score for each in found.votes} == pytest.approx(
        {label: sum(scores) for label, scores in expected.items()}
    )
    assert [each.score for each in found.votes] == sorted((each.score for each in found.votes), reverse=True)
    places = sorted(place for each in found.votes for place in each.evidence)
    assert places == [i for i, voter in enumerate(voters) if voter.label is not None][:k]


@given(st.lists(VERIFIED, max_size=8), st.floats(-2, 4))
def test_a_threshold_only_rejects(voters, least):
    free, bound = vote(voters), vote(voters, VotingOptions(least=least))
    assert bound.votes == free.votes
    assert bound.label == (free.label if free.score >= least else None)


@pytest.mark.parametrize(
    "options",
    [{"k": 0}, {"inlier_cap": 0}, {"alpha": -0.1}, {"alpha": math.nan}, {"alpha": math.inf}, {"least": math.nan}],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        VotingOptions(**options)


def test_the_threshold_is_the_lowest_from_which_on_enough_is_right():
    scores = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    right = [True, True, False, True, False, False]
    assert fit_threshold(scores, right, 1) == 0.8
    assert fit_threshold(scores, right, 0.75) == 0.6  # 3 of 4; at 0.7 it is 2 of 3, but a lower one is better
    assert fit_threshold(scores, right, 0.5) == 0.4
    assert fit_threshold([0.3] * 20, [True] * 19 + [False]) == 0.3


def test_equal_scores_are_accepted_or_rejected_together():
    assert fit_threshold([0.9, 0.5, 0.5], [True, True, False], 0.9) == 0.9
    with pytest.raises(ConfigError, match="no threshold makes 90% of these 2"):
        fit_threshold([0.5, 0.5], [True, False], 0.9)


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=12),
    st.sampled_from([0.07, 0.5, 2 / 3, 0.95, 1.0]),
)
def test_the_threshold_agrees_with_trying_every_score(samples, precision):
    good = []
    for least in {score for score, _ in samples}:
        kept = [right for score, right in samples if score >= least]
        if sum(kept) / len(kept) >= precision:
            good.append(least)
    scores, right = zip(*samples, strict=True)
    if good:
        assert fit_threshold(scores, right, precision) == min(good)
    else:
        with pytest.raises(ConfigError, match="no threshold"):
            fit_threshold(scores, right, precision)


def test_samples_that_make_no_sense_are_refused():
    for scores, right in (([], []), ([0.5], [True, False]), ([np.nan], [True]), ([[0.5]], [[True]])):
        with pytest.raises(ShapeError):
            fit_threshold(scores, right)
    for precision in (0, 1.1, math.nan):
        with pytest.raises(ConfigError, match="precision"):
            fit_threshold([0.5], [True], precision)
