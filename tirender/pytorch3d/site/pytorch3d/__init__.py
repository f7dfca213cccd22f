"""``import pytorch3d`` in a process in which nothing has installed the name yet."""

from tirender.pytorch3d import install

install()
