"""The archs that kernels run on; apart from the runtime, as a command line's help need not wait for torch."""

ARCHS = ("cpu", "cuda", "vulkan")
