"""The README tells the truth: its Python runs and prints what it says, its commands parse, its links lead somewhere."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from tirender.cli import make_parser
from tirender.fit_kinds import KINDS
from tirender.io import IO

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    """The words of every shell command, chained ones apart."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(part, comments=True) for line in lines for part in line.split(" && ")]


def test_python_prints_what_the_readme_says():
    examples = re.findall(r"^```python\n(.*?)^```\n```text\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    assert len(examples) == len(blocks("python")) > 0
    for code, expected in examples:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
        assert printed.getvalue() == expected


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_command_is_one_that_exists(words):
    program = Path(words[0]).name
    if program == "torchrun":
        words = words[words.index("-m") + 1 :]
        program = words[0]
    if program == "tirender":
        make_parser().parse_args(words[1:])
    elif program == "python" and words[1].endswith(".py"):
        assert (ROOT / words[1]).is_file()
    else:
        assert program in ("python3", "pip", "python")


def test_the_first_command_is_a_tour_and_the_second_tests():
    first, second = blocks("sh")[:2]
    assert first.strip() == (
        "python3 -m venv .venv && .venv/bin/pip install -c .ci/constraints.txt -e '.[test]' "
        "&& .venv/bin/tirender tour --quick -o out/tour"
    )
    assert second.strip() == ".venv/bin/python -m pytest -n 2 --dist loadfile"


def test_links_and_pictures_exist():
    targets = re.findall(r'(?:src|href)="([^"]+)"', README) + re.findall(r"\]\(([^)]+)\)", README)
    here = [target for target in targets if not target.startswith("https://")]
    assert len(here) >= 1
    for target in here + re.findall(r"`((?:tests|docs|examples|\.ci)/[^` ]*)`", README):
        assert (ROOT / target).exists(), target


def test_tables_names_of_archs_are_the_runtime_s():
    from tirender.engine.runtime import ARCHS

    (heading,) = re.findall(r"^\| \| (.*) \|$", README, re.MULTILINE)
    assert tuple(heading.lower().split(" | ")) == ARCHS


def test_the_table_of_fits_is_that_of_the_records():
    table = README[README.index("| KIND | finds | so that |") :]
    rows = re.findall(r"^\| `(\w+)` \| (.*) \| (.*) \|$", table[: table.index("\n\n")], re.MULTILINE)
    assert rows == [(kind.name, kind.finds, kind.so_that) for kind in KINDS.values()]


def test_files_that_can_be_drawn_are_all_named(capsys):
    (start,) = [m.start() for m in re.finditer("^FILE is one of these:", README, re.MULTILINE)]
    texts = [README[start : README.index("In Python", start)]]
    for command in ("render", "view"):
        with pytest.raises(SystemExit, match="0"):
            make_parser().parse_args([command, "--help"])
        texts.append(capsys.readouterr().out)
    for text in texts:
        for suffix in IO().known_suffixes:
            assert re.search(rf"\b{suffix[1:]}\b", text, re.IGNORECASE), (suffix, text)


def test_the_gallery_has_a_light_picture_of_every_section_and_leads_to_its_example():
    table = README[README.index("<table>") : README.index("</table>")]
    cells = re.findall(r'<a href="examples/(\w+)\.py"><img src="([^"]+)" width="240" alt="([^"]+)"><br>(\d) ', table)
    assert [number for *_, number in cells] == list("1234567")
    assert len({example for example, *_ in cells}) == 7
    assert all(len(alt) > 15 for _, _, alt, _ in cells)
    assert sum((ROOT / picture).stat().st_size for _, picture, *_ in cells) < 600_000
