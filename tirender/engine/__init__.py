"""What runs the kernels: private; public operators over it are in ``tirender.ops``."""
