"""The six tutorials and Gaussians, one after the other, and a report: ``tirender tour``."""

from tirender.tour.config import FULL, QUICK, TourConfig
from tirender.tour.report import write_report
from tirender.tour.run import run_tour

__all__ = ["FULL", "QUICK", "TourConfig", "run_tour", "write_report"]
