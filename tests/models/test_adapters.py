"""Adapters: lengths, the papers' sizes and proportions, and no influence of padding."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from conftest import ADAPTERS, validated

from speechllm_bench.models import adapters
from speechllm_bench.settings.adapter_config import AdapterConfig
from speechllm_bench.settings.profiles import load_profile
from speechllm_bench.storage import paths

KINDS = list(ADAPTERS)


def build(kind: str, d_in: int = 6, d_out: int = 10) -> adapters.Adapter:
    torch.manual_seed(1)
    return adapters.build_adapter(validated(**ADAPTERS[kind]), d_in, d_out).eval()


def test_every_kind_of_a_config_is_built():
    configs = get_args(get_args(AdapterConfig)[0])
    assert {kind for config in configs for kind in get_args(config.model_fields["kind"].annotation)} == set(
        adapters.KINDS
    )


def test_every_kind_is_tested():
    assert ADAPTERS.keys() == adapters.KINDS.keys(), "tests/conftest.py has settings of each kind"


@pytest.mark.parametrize("kind", KINDS)
def test_out_length_is_the_real_length(kind):
    adapter = build(kind)
    for n in range(1, 41):
        out = adapter(torch.randn(1, n, 6), torch.tensor([n]))
        assert out.shape == (1, adapter.out_length(n), 10)
        assert adapter.out_length(torch.tensor([n])).tolist() == [adapter.out_length(n)]


@pytest.mark.parametrize("kind", KINDS)
def test_scaled_outputs_have_one_norm_and_padding_changes_nothing(kind):
    torch.manual_seed(1)
    config = validated(**ADAPTERS[kind], scaled=True)
    adapter = adapters.build_adapter(config, 6, 10, norm=3.5).eval()
    assert adapters.n_parameters(adapter) == adapters.n_parameters(build(kind))
    frames, lengths = torch.randn(2, 24, 6), torch.tensor([24, 13])
    frames[1, 13:] = 0
    out = adapter(frames, lengths)
    torch.testing.assert_close(out.norm(dim=-1), torch.full(out.shape[:2], 3.5))
    n = adapter.out_length(13)
    alone = adapter(frames[1:, :13], lengths[1:])[0]
    torch.testing.assert_close(out[1, :n], alone, atol=1e-5, rtol=0)
    plain = build(kind)(frames, lengths)
    torch.testing.assert_close(out, 3.5 * torch.nn.functional.normalize(plain, dim=-1))


def test_the_mean_norm_is_that_of_the_rows():
    assert adapters.mean_norm(torch.tensor([[3.0, 4.0], [0.0, 1.0]])) == 3.0
    assert adapters.mean_norm(torch.tensor([[3.0, 4.0]], dtype=torch.bfloat16)) == 5.0


def test_pre_norm_is_another_transformer_whose_output_is_bounded():
    torch.manual_seed(1)
    plain, pre = (
        adapters.build_adapter(validated(**ADAPTERS["transformer"], pre_norm=pre_norm), 6, 10)
        for pre_norm in (False, True)
    )
    assert adapters.n_parameters(pre) == adapters.n_parameters(plain) + 2 * ADAPTERS["transformer"]["width"]
    loud = [torch.randn(1, 16, 6) * scale for scale in (1e3, 1e6)]
    a, b = (pre(frames, torch.tensor([16])) for frames in loud)
    assert a.shape == (1, 2, 10) and b.abs().max() < 2 * a.abs().max()


def test_out_length_by_hand():
    assert [adapters.Adapter().out_length(n) for n in (1, 8, 9, 16, 17, 50)] == [1, 1, 2, 2, 3, 7]


def size(kind: str, profile: str, d_in: int, d_out: int) -> int:
    config = load_profile(paths.EXPERIMENTS / "profiles" / f"{profile}.yaml").adapters[kind]
    with torch.device("meta"):
        return adapters.n_parameters(adapters.build_adapter(config, d_in, d_out))


@pytest.mark.parametrize(
    ("kind", "millions"), [("cnn", 3.41), ("mlp", 20.98), ("transformer", 67.16), ("mlp_2", 12.59)]
)  # 2510.15851, section 3.3; mlp_2: 2510.19326
def test_sizes_at_the_papers_widths(kind, millions):
    assert size(kind, "paper", 512, 2048) / 1e6 == pytest.approx(millions, rel=0.01)


def test_larger_cnn_at_the_papers_widths():
    assert size("cnn_xl", "paper", 512, 2048) > size("cnn", "paper", 512, 2048)


@pytest.mark.parametrize("profile", ["smoke", "mini"])
def test_zoo_profiles_keep_the_papers_proportions(profile):
    """Protocol, rule 7; whisper-mini and llm-mini are both 160 wide."""
    sizes = {kind: size(kind, profile, 160, 160) for kind in (*KINDS, "mlp_2")}
    assert sizes["mlp_2"] / sizes["mlp"] == pytest.approx(12.59 / 20.98, rel=0.1)
    assert sizes["mlp"] / sizes["cnn"] == pytest.approx(6.1, rel=0.1)
    assert sizes["transformer"] / sizes["cnn"] == pytest.approx(19.7, rel=0.1)
    assert sizes["cnn_xl"] > sizes["cnn"]


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing(kind):
    adapter = build(kind)
    lengths = torch.tensor([3, 8, 9, 21, 40])
    frames = torch.randn(5, 40, 6)
    padded = frames * (torch.arange(40) < lengths[:, None])[..., None]
    together = adapter(padded, lengths)
    for row, n in enumerate(lengths.tolist()):
        alone = adapter(frames[row : row + 1, :n], lengths[row : row + 1])[0]
        torch.testing.assert_close(together[row, : len(alone)], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_gets_a_gradient(kind):
    adapter = build(kind)
    adapter(torch.randn(2, 24, 6), torch.tensor([24, 17])).pow(2).sum().backward()
    without = [n for n, p in adapter.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert without == []


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_is_heard(kind):
    adapter = build(kind)
    frames = torch.randn(1, 16, 6, requires_grad=True)
    adapter(frames, torch.tensor([16])).pow(2).sum().backward()
    assert (frames.grad.abs().sum(-1) > 0).all()


def test_the_transformer_knows_the_order_of_stacks():
    adapter = build("transformer")
    stack = torch.randn(1, 8, 6).repeat(1, 2, 1)
    first, second = adapter(stack, torch.tensor([16]))[0]
    assert not torch.allclose(first, second, atol=1e-3)
