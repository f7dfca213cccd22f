"""The base of operations whose gradients have no gradients: where one is asked for, an error names the operation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


class FirstOrder(torch.autograd.Function):
    """An ``autograd.Function`` that is differentiable once, by ``backward()`` and ``torch.autograd.grad``.

    A subclass has ``forward(ctx, *args)`` and ``backward(ctx, *grads)``, which need not be differentiable. A gradient
    that was computed with ``create_graph=True`` can be used. Differentiating it is an error: without one, torch would
    take it for a constant and return a wrong result.

    Raises:
        RuntimeError: within a transform of ``torch.func``, in forward mode, or where a gradient is differentiated.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.backward = staticmethod(_once(operation_name(cls), cls.backward))  # type: ignore[method-assign]

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """The outputs; their node keeps ties to the inputs, empty tensors that a second derivative would pass."""
        refuse_transforms(cls)
        outputs = super().apply(*args)
        every = outputs if isinstance(outputs, tuple) else (outputs,)
        node: Any = next((output.grad_fn for output in every if output.grad_fn is not None), None)
        if node is not None:
            inputs = [arg for arg in args if isinstance(arg, torch.Tensor) and arg.requires_grad]
            node.ties = [x.reshape(-1 if not x.dim() else x.shape).narrow(0, 0, 0).clone() for x in inputs]
        return outputs

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> Any:
        raise RuntimeError(_message(operation_name(type(ctx)._forward_cls), "forward mode"))


def refuse_transforms(operation: Any) -> None:
    """Raise ``RuntimeError`` within a transform of ``torch.func``, whose tensors no kernel can read."""
    if torch._C._are_functorch_transforms_active():
        raise RuntimeError(_message(operation_name(operation), "a transform of torch.func"))


def operation_name(operation: Any) -> str:
    """The name of a function or class, after that of its module."""
    return f"{operation.__module__}.{operation.__name__.lstrip('_')}"


def _message(name: str, got: str) -> str:
    return f"{name}: expected first-order gradients only, by backward() or torch.autograd.grad(), got {got}"


def _once(name: str, backward: Callable[..., Any]) -> Callable[..., Any]:
    def differentiate(ctx: Any, *grads: torch.Tensor) -> Any:
        with torch.no_grad():
            results = backward(ctx, *grads)
        if not torch.is_grad_enabled():
            return results
        results = results if isinstance(results, tuple) else (results,)
        sources = [*ctx.ties, *(grad for grad in grads if grad is not None and grad.requires_grad)]
        present = [result for result in results if result is not None]
        barred = iter(_Barrier.apply(name, len(sources), *sources, *present))
        return tuple(None if result is None else next(barred) for result in results)

    return differentiate


class _Barrier(torch.autograd.Function):
    """The same tensors after some sources: no gradient passes from the tensors to the sources."""

    @staticmethod
    def forward(ctx: Any, name: str, n_sources: int, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ctx.name = name
        return tuple(tensor.view_as(tensor) for tensor in tensors[n_sources:])

    @staticmethod
    def backward(ctx: Any, *_: torch.Tensor) -> Any:
        raise RuntimeError(_message(ctx.name, "a request for second-order ones"))
