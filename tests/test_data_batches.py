"""Properties of the batch order that resuming and data-parallel training rely on."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.batches import BatchStream, RandomParameters


def sample(generator: torch.Generator, n: int) -> RandomParameters:
    return {"value": torch.rand(n, generator=generator)}


def stream(n: int, batch_size: int, seed: int, shard: tuple[int, int] = (0, 1)) -> BatchStream:
    images = torch.arange(n).view(n, 1, 1, 1)
    return BatchStream(
        images, torch.arange(n), batch_size=batch_size, seed=seed, sample=sample, shard=shard
    )


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 40),
    batch_size=st.integers(1, 60),
    seed=st.integers(0, 2**31 - 1),
    world=st.integers(1, 4),
    start=st.integers(0, 200),
)
def test_batches_are_full_permutations_and_depend_on_seed_and_step_alone(
    n, batch_size, seed, world, start
):
    whole = stream(n, batch_size, seed)
    batches = [whole.batch(step) for step in range(2 * n // batch_size + 2)]
    order = torch.cat([batch.labels for batch in batches])
    assert {len(batch.labels) for batch in batches} == {batch_size}
    for epoch in order[: len(order) // n * n].view(-1, n):
        assert sorted(epoch.tolist()) == list(range(n))
    assert all(torch.equal(b.images.flatten(), b.labels) for b in batches)

    later, resumed = whole.batch(start), stream(n, batch_size, seed).batch(start)
    assert torch.equal(later.labels, resumed.labels)
    assert torch.equal(later.random["value"], resumed.random["value"])
    parts = [stream(n, batch_size, seed, (rank, world)) for rank in range(world)]
    if batch_size >= world:
        shards = [part.batch(start) for part in parts]
        assert torch.equal(torch.cat([s.labels for s in shards]), later.labels)
        values = torch.cat([s.random["value"] for s in shards])
        assert torch.equal(values, later.random["value"])
