"""``gsplat.strategy``: how a fit adds and removes Gaussians."""

from tirender.gsplat.strategy.base import Strategy
from tirender.gsplat.strategy.default import DefaultStrategy
from tirender.gsplat.strategy.mcmc import MCMCStrategy

__all__ = ["DefaultStrategy", "MCMCStrategy", "Strategy"]
