"""A parser of arguments that takes options before and after files, and reports a mistake in one line."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|inf|nan)")


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` with these differences.

    - Files may stand before, between and after options.
    - The value of an option may begin with a minus: ``--up -z``.
    - An option that :func:`takes_numbers` may be followed by that many: ``--size 640 480 scan.obj``.
    - Errors are one line, worded as those of tirender, and guess what was meant.
    """

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if args is None or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        namespace, unknown = super().parse_known_args(args if "--" in args else self._files_first(args), namespace)
        if unknown:
            word = next((word for word in unknown if word.startswith("-")), unknown[0])
            self.error(f"unknown argument {word!r}{_guess(word.partition('=')[0], [*self._option_string_actions])}")
        return namespace, []

    def error(self, message: str) -> NoReturn:
        """End with one line and exit code 2."""
        message = message.removeprefix("argument ").replace("the following arguments are required:", "expected")
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        names = [str(choice) for choice in action.choices]
        guess = _guess(str(value), names)
        if "view" in names and Path(str(value)).suffix:
            guess = f"; {self.prog} view {value} shows a file"
        raise argparse.ArgumentError(action, f"expected {', '.join(names)}, got {str(value)!r}{guess}")

    def _files_first(self, args: Sequence[str]) -> list[str]:
        """The same arguments in another order: positional ones, then options, each joined with its value."""
        files: list[str] = []
        options: list[str] = []
        rest = [*args]
        while rest:
            word = rest.pop(0)
            action = self._action_of(word)
            if action is None:
                (options if word.startswith("-") and word != "-" else files).append(word)
                continue
            options.append(word)
            if action.nargs == "+":
                while rest and self._action_of(rest[0]) is None:
                    options.append(rest.pop(0))
            elif action.nargs == "?":
                if rest and rest[0] in (action.choices or ()):
                    options[-1] += f"={rest.pop(0)}"
            elif action.nargs is None and rest and self._action_of(rest[0]) is None:
                values = [rest.pop(0)]
                while rest and len(values) < getattr(action, "numbers", 1) and _are_numbers([values[0], rest[0]]):
                    values.append(rest.pop(0))
                options[-1] += ("=" if word.startswith("--") else "") + ",".join(values)
        return files + options

    def _action_of(self, word: str) -> argparse.Action | None:
        """The option that a word names, in full or by an unambiguous beginning."""
        known = self._option_string_actions
        if word in known or not word.startswith("--"):
            return known.get(word)
        found = {id(action): action for name, action in known.items() if name.startswith(word)}
        return next(iter(found.values())) if len(found) == 1 else None


def takes_numbers(action: argparse.Action, n: int) -> None:
    """Let an option be followed by up to ``n`` numbers; its ``type`` gets them as one text, with commas."""
    action.numbers = n  # type: ignore[attr-defined]


def _are_numbers(words: Sequence[str]) -> bool:
    return all(NUMBER.fullmatch(word) for word in words)


def _guess(word: str, names: Sequence[str]) -> str:
    found = difflib.get_close_matches(word, names, 1)
    return f"; did you mean {found[0]}?" if found else ""
