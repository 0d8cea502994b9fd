import pytest
import torch
from torch import nn

from glocal.train.averaging import Average


def test_the_average_follows_the_network_by_its_decay():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = Average(network, 0.9)
    before = average.network[0].weight.clone()
    with torch.no_grad():
        network[0].weight += 1
    network(torch.randn(8, 2))
    average.update(network)
    assert torch.allclose(average.network[0].weight, before + 0.1)
    assert torch.allclose(average.network[1].running_mean, 0.1 * network[1].running_mean)
    assert int(average.network[1].num_batches_tracked) == 1
    assert not average.network.training
    assert not any(parameter.requires_grad for parameter in average.network.parameters())


def test_its_state_is_given_and_taken_back():
    first, second = (Average(nn.Linear(3, 3), 0.5) for _ in range(2))
    second.load_state_dict(first.state_dict())
    x = torch.randn(4, 3)
    assert torch.equal(first.network(x), second.network(x))
    with pytest.raises(RuntimeError):
        second.load_state_dict({})
