import copy

import pytest
import safetensors.torch
import torch
from torch.nn import functional as F

from glocal.errors import ConfigError, ShapeError
from glocal.nn.margin_head import ArcFaceHead, CosFaceHead, CurricularHead
from glocal.nn.partial_head import PartialHead, SubcentreHead

DIM, CLASSES = 6, 40


def arcface():
    return ArcFaceHead(DIM, CLASSES, 0.2, 16.0)


def cosface():
    return CosFaceHead(DIM, CLASSES, 0.2, 16.0)


def curricular():
    return CurricularHead(DIM, CLASSES, 0.2, 16.0)


def subcentre():
    return SubcentreHead(DIM, CLASSES, 0.2, 16.0, num_centres=3)


every_head = pytest.mark.parametrize("build", [arcface, cosface, curricular, subcentre])


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def a_batch(num=8):
    return torch.randn(num, DIM), torch.randint(CLASSES, (num,))


@every_head
@pytest.mark.parametrize("num_sampled", [CLASSES, CLASSES + 1, CLASSES - 1])
def test_with_all_classes_it_is_the_head_itself(build, num_sampled):
    whole = build()
    partial = PartialHead(copy.deepcopy(whole), num_sampled)
    descriptors, labels = a_batch()
    logits, columns = partial(descriptors, labels)
    assert torch.equal(columns, labels)
    torch.testing.assert_close(logits, whole(descriptors, labels))


@every_head
def test_a_sample_gives_the_logits_that_the_whole_has_for_those_classes(build):
    whole = build()
    partial = PartialHead(copy.deepcopy(whole), 10, seed=4)
    twin = PartialHead(copy.deepcopy(whole), 10, seed=4)
    descriptors, labels = a_batch()
    classes = twin._draw(labels)
    logits, columns = partial(descriptors, labels)
    assert logits.shape == (8, labels.unique().numel() + 10)
    assert torch.equal(classes[columns], labels)
    torch.testing.assert_close(logits, whole(descriptors, labels)[:, classes])


def test_a_sample_holds_each_class_once_and_the_others_equally_often():
    head = PartialHead(arcface(), 10)
    labels = torch.tensor([3, 3, 39, 0])
    counts = torch.zeros(CLASSES)
    for _ in range(2000):
        classes = head._draw(labels)
        assert len(classes) == 13 == classes.unique().numel()
        counts[classes] += 1
    assert set(counts[[0, 3, 39]].tolist()) == {2000}
    others = torch.ones(CLASSES, dtype=torch.bool).index_fill(0, labels, False)
    assert (counts[others] / 2000 - 10 / 37).abs().max() < 0.06


@every_head
def test_only_drawn_classes_get_a_gradient(build):
    head = PartialHead(build(), 5)
    descriptors, labels = a_batch(4)
    descriptors.requires_grad_()
    F.cross_entropy(*head(descriptors, labels)).backward()
    touched = head.head.weight.grad.flatten(1).abs().sum(1) > 0
    assert labels.unique().numel() <= int(touched.sum()) <= labels.unique().numel() + 5
    assert touched[labels].all()
    assert descriptors.grad.isfinite().all()
    assert descriptors.grad.abs().sum() > 0


def test_the_curricular_state_moves_as_with_all_classes():
    whole = curricular()
    partial = PartialHead(copy.deepcopy(whole), 5)
    descriptors, labels = a_batch()
    whole(descriptors, labels)
    partial(descriptors, labels)
    assert float(whole.state) != 0
    torch.testing.assert_close(partial.head.state, whole.state)


@every_head
def test_evaluation_has_all_classes_no_margin_and_draws_nothing(build):
    head = PartialHead(build(), 5).eval()
    before = head.get_extra_state()
    descriptors, labels = a_batch()
    logits, columns = head(descriptors, labels)
    assert logits.shape == (8, CLASSES)
    assert torch.equal(columns, labels)
    assert torch.equal(logits, head(descriptors, labels.flip(0))[0])
    assert torch.equal(head.get_extra_state(), before)


def test_a_continued_run_draws_what_it_would_have_drawn():
    first, second = PartialHead(arcface(), 5, seed=1), PartialHead(arcface(), 5, seed=2)
    labels = torch.tensor([7, 9])
    first._draw(labels)
    state = safetensors.torch.load(safetensors.torch.save(first.state_dict()))  # as in a checkpoint
    second.load_state_dict(state)
    assert torch.equal(second.head.weight, first.head.weight)
    for _ in range(3):
        assert torch.equal(second._draw(labels), first._draw(labels))
    with pytest.raises(RuntimeError, match="_extra_state"):
        second.load_state_dict({"head.weight": first.head.weight})


def test_samples_differ_from_step_to_step_and_seed_to_seed_and_ignore_the_global_one():
    labels = torch.tensor([7])
    head = PartialHead(arcface(), 5, seed=1)
    draws = [head._draw(labels).tolist() for _ in range(2)]
    torch.manual_seed(77)
    same = PartialHead(arcface(), 5, seed=1)
    assert draws[0] != draws[1]
    assert [same._draw(labels).tolist() for _ in range(2)] == draws
    assert PartialHead(arcface(), 5, seed=2)._draw(labels).tolist() != draws[0]


def test_with_one_centre_it_is_arcface():
    plain = arcface()
    head = SubcentreHead(DIM, CLASSES, 0.2, 16.0, num_centres=1)
    with torch.no_grad():
        head.weight.copy_(plain.weight[:, None])
    descriptors, labels = a_batch()
    torch.testing.assert_close(head(descriptors, labels), plain(descriptors, labels))
    torch.testing.assert_close(head.eval()(descriptors, labels), plain.eval()(descriptors, labels))


def test_the_nearest_centre_of_a_class_counts():
    head = subcentre().eval()
    descriptors, labels = a_batch()
    logits = head(descriptors, labels).detach()
    for row, descriptor in enumerate(descriptors):
        for column, centres in enumerate(head.weight.detach()):
            nearest = max(float(F.cosine_similarity(descriptor, centre, dim=0)) for centre in centres)
            assert float(logits[row, column]) == pytest.approx(16.0 * nearest, abs=1e-4)


def test_a_photo_pulls_only_the_nearest_centre_of_its_class():
    head = subcentre()
    descriptor, label = torch.randn(1, DIM), torch.tensor([5])
    F.cross_entropy(head(descriptor, label), label).backward()
    pulled = head.weight.grad[5].abs().sum(1) > 0
    nearest = F.cosine_similarity(descriptor, head.weight[5]).argmax()
    assert pulled.nonzero().flatten().tolist() == [int(nearest)]


def test_wrong_numbers_and_shapes_are_named():
    with pytest.raises(ConfigError, match="at least 1 class"):
        PartialHead(arcface(), 0)
    with pytest.raises(ConfigError, match="at least 1 centre"):
        SubcentreHead(DIM, CLASSES, num_centres=0)
    with pytest.raises(ShapeError, match="labels"):
        PartialHead(arcface(), 5)(torch.randn(3, DIM), torch.tensor([1, 2]))
    with pytest.raises(ShapeError):
        PartialHead(arcface(), 5)(torch.randn(3, DIM + 1), torch.tensor([1, 2, 3]))
