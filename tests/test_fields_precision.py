"""Networks that multiply bfloat16: where this is faster, nearly the same values and gradients, in float32."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from tirender.engine.hash_grid import HashGridLayout
from tirender.fields import HashGridConfig, HashGridField, NeuralRadianceField, precision
from tirender.fit import NerfConfig
from tirender.renderer import RayBundle


def field_of(kind: str, name: str) -> torch.nn.Module:
    torch.manual_seed(3)
    if kind == "harmonic":
        return NeuralRadianceField(n_harmonic_functions=20, n_hidden_neurons=64, precision=name)
    field = HashGridField(HashGridConfig(layout=HashGridLayout(n_levels=4, log2_rows=10), precision=name))
    torch.nn.init.normal_(field.table)
    return field


def outputs(field: torch.nn.Module) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    torch.manual_seed(4)
    lengths = torch.linspace(0.1, 1.4, 7).expand(50, 7)
    values = field(RayBundle(*torch.randn(2, 50, 3).mul(0.3), lengths, None))
    loss = sum((value * torch.randn_like(value)).sum() for value in values)
    return [*values], [*torch.autograd.grad(loss, [*field.parameters()])]


@pytest.mark.parametrize("kind", ["harmonic", "hashgrid"])
def test_values_and_gradients_are_close(monkeypatch: pytest.MonkeyPatch, kind: str):
    monkeypatch.setattr(precision, "bf16_is_faster", lambda *_: True)
    field = field_of(kind, "bf16")
    (values, grads), (expected, expected_grads) = outputs(field), outputs(field_of(kind, "float32"))
    for value, other in zip(values, expected):
        assert value.dtype == torch.float32
        assert not torch.equal(value, other)
        torch.testing.assert_close(value, other, atol=0.02, rtol=0.02)
    for parameter, grad, other in zip(field.parameters(), grads, expected_grads):
        assert grad.dtype == parameter.dtype == torch.float32
        assert float(F.cosine_similarity(grad.flatten(), other.flatten(), dim=0)) > 0.99  # a few rectifiers switch


@pytest.mark.parametrize("kind", ["harmonic", "hashgrid"])
def test_it_repeats_to_the_bit(monkeypatch: pytest.MonkeyPatch, kind: str):
    monkeypatch.setattr(precision, "bf16_is_faster", lambda *_: True)
    runs = [outputs(field_of(kind, "bf16")) for _ in range(2)]
    for a, b in zip(*([*values, *grads] for values, grads in runs)):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", ["harmonic", "hashgrid"])
def test_where_it_is_slower_float32_is_used(monkeypatch: pytest.MonkeyPatch, kind: str):
    monkeypatch.setattr(precision, "_seconds", lambda _rows, _square, dtype: 1.0 if dtype == torch.bfloat16 else 1.1)
    precision.bf16_is_faster.cache_clear()
    with pytest.warns(UserWarning, match="precision: bf16 is no faster than float32 for 64 neurons on this cpu device"):
        found = outputs(field_of(kind, "bf16"))
    precision.bf16_is_faster.cache_clear()
    for a, b in zip(*([*values, *grads] for values, grads in (found, outputs(field_of(kind, "float32"))))):
        assert torch.equal(a, b)


def test_what_is_faster_is_measured():
    precision.bf16_is_faster.cache_clear()
    weights = torch.ones(1)
    assert precision.factor_dtype("float32", weights, 8) == torch.float32
    assert precision.bf16_is_faster.cache_info().currsize == 0
    assert precision.factor_dtype("bf16", weights.double(), 8) == torch.float64
    assert precision._seconds(torch.ones(8, 8), torch.ones(8, 8), torch.bfloat16) > 0


def test_double_precision_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(precision, "bf16_is_faster", lambda *_: True)
    field = NeuralRadianceField(4, 8, precision="bf16").double()
    lengths = torch.linspace(0.1, 1.4, 7, dtype=torch.float64).expand(5, 7)
    density, color = field(RayBundle(*torch.randn(2, 5, 3, dtype=torch.float64), lengths, None))
    assert density.dtype == color.dtype == torch.float64


def test_settings():
    for config in (NerfConfig(precision="bf16"), NerfConfig(field="hashgrid", precision="bf16")):
        field = config.make_field()
        assert getattr(field, "config", field).precision == "bf16"
    for make in (NerfConfig, HashGridConfig, NeuralRadianceField):
        with pytest.raises(ValueError, match="precision: expected 'float32' or 'bf16', got 'half'"):
            make(precision="half")
