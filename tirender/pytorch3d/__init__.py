"""PyTorch3D's name for tirender: after ``install()``, ``import pytorch3d`` means tirender in the whole process.

There are three ways to use it. None needs a change in the program:

- ``python -m tirender.pytorch3d script.py arguments`` or ``python -m tirender.pytorch3d -m module arguments``. The
  processes that the program starts have the name too.
- Two lines at the top of a program, of a ``conftest.py`` for pytest, or of a ``sitecustomize.py`` on ``PYTHONPATH``::

      import tirender.pytorch3d
      tirender.pytorch3d.install()

- In a notebook, the same two lines in the first cell.

How it works: ``modules`` lists the paths of PyTorch3D's modules, and ``alias`` puts a module into ``sys.modules`` for
each. ``shims`` has what PyTorch3D's modules hold beyond tirender's. ``site`` has a ``pytorch3d`` package for processes
that are started later, and what is left out: its files raise an ``ImportError`` that says so.
"""

from tirender.pytorch3d.alias import VERSION, install

__all__ = ["VERSION", "install"]
