"""Compares the methods of an objective with those that will be called."""

from __future__ import annotations

import inspect
from collections.abc import Iterable


def check_signatures(name: str, objective: object, protocols: Iterable[type]) -> None:
    """Check that the methods of an objective take the arguments of its protocols.

    Args:
        name: of the objective, for the error line.
        objective: the instance.
        protocols: those that it implements.

    Raises:
        ValueError: a method takes other arguments; both signatures are named.
    """
    for protocol in protocols:
        for method, wanted in vars(protocol).items():
            own = getattr(objective, method, None)
            if method.startswith("_") or not inspect.isfunction(wanted) or not callable(own):
                continue
            parameters = list(inspect.signature(wanted).parameters)[1:]
            try:
                signature = inspect.signature(own)
            except ValueError:  # not written in Python
                continue
            try:
                signature.bind(*parameters)
            except TypeError:
                raise ValueError(
                    f"objective {name}: expected the method {method}({', '.join(parameters)}), got "
                    f"{method}{_plain_signature(signature)}"
                ) from None


def _plain_signature(signature: inspect.Signature) -> str:
    """The signature as text, without types."""
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(inspect.Signature(parameters))
