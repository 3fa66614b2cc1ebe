from __future__ import annotations

import torch

from training.chance import choose, generator_of, number_of, pick, spread_timesteps


def test_a_draw_depends_on_job_and_step_alone() -> None:
    # printf 'job\n7' | sha256sum, the first 63 bits
    assert number_of("job", 7) == 0x41B449B4AAB524DE >> 1
    first = torch.rand(4, generator=generator_of("job", 7))
    assert torch.equal(first, torch.rand(4, generator=generator_of("job", 7)))
    assert not torch.equal(first, torch.rand(4, generator=generator_of("job", 8)))
    assert not torch.equal(first, torch.rand(4, generator=generator_of("jo", "b7")))


def test_every_photo_before_any_comes_twice() -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(20):
        chosen = choose(3, 5, generator).tolist()
        assert sorted(chosen[:3]) == [0, 1, 2]
        assert len(chosen) == 5


def test_timesteps_fill_their_strata_evenly() -> None:
    generator = torch.Generator().manual_seed(1)
    drawn = torch.stack([spread_timesteps(4, 200, 1000, generator) for _ in range(2000)])
    strata = ((drawn - 200) // 200).sort(dim=1).values
    assert torch.equal(strata, torch.arange(4).expand_as(strata))
    # Each place in the batch sees all of it: uniform in 200 … 999 has mean 599.5 and deviation 231.
    assert (drawn.float().mean(0) - 599.5).abs().max() < 5 * 231 / 2000**0.5
    assert (int(drawn.min()), int(drawn.max())) == (200, 999)


def test_all_options_are_picked() -> None:
    generator = torch.Generator().manual_seed(1)
    assert {pick(["a", "b", "c"], generator) for _ in range(50)} == {"a", "b", "c"}
