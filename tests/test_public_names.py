"""The names that a PyTorch3D user may call exist."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

import tirender.renderer

NAMES = (Path(__file__).parent / "data" / "public_names.txt").read_text("utf-8").split()


@pytest.mark.parametrize("name", NAMES)
def test_name_exists(name):
    module, _, member = name.rpartition(".")
    assert hasattr(importlib.import_module(f"tirender.{module}"), member)


def test_what_materials_need_is_public():
    assert {"MaterialShader", "TexturesMaterial", "antialias"} <= set(tirender.renderer.__all__)
    assert set(tirender.renderer.mesh.__all__) - {"Fragments"} <= set(tirender.renderer.__all__)


@pytest.mark.parametrize("package", ["io", "structures", "renderer", "transforms", "utils", "vis", "loss", "ops"])
def test_all_lists_what_a_package_offers(package):
    module = importlib.import_module(f"tirender.{package}")
    assert sorted(set(module.__all__)) == list(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)
