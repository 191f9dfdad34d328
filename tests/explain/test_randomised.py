"""What no true explanation survives."""

from __future__ import annotations

import torch
from torch import nn

from mezoroi.explain import randomised


def test_every_learned_number_moves_and_none_is_lost() -> None:
    generator = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 32, 1), nn.BatchNorm2d(32), nn.Linear(4, 16))
    norm = model[1]
    with torch.no_grad():
        for learned in (*model.parameters(), norm.running_mean, norm.running_var):
            learned.copy_(torch.rand(learned.shape, generator=generator))
    model.register_buffer("positions", torch.rand(32, generator=generator))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    after = randomised(model).state_dict()
    for name, value in before.items():
        assert torch.equal(value, model.state_dict()[name])
        assert torch.equal(value.flatten().sort().values, after[name].flatten().sort().values)
        moves = name not in ("positions", "1.num_batches_tracked")
        assert torch.equal(value, after[name]) != moves, name
