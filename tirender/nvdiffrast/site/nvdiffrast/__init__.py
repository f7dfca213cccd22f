"""``import nvdiffrast`` in a process in which nothing has installed the name yet."""

from tirender.nvdiffrast import install

install()
