"""``tirender bench``: how fast the tutorials' steps and the operations under them are here."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tirender.commands.arguments import add_arch

ROW_BUDGET, SERIES_BUDGET, LIMIT_BUDGET, PEER_BUDGET = 1.5, 0.3, 0.5, 6.0  # seconds of steady runs
QUICK = 0.1  # of those
PARTS = ("rows", "series", "starts")  # of the results


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``bench`` to what ``add_subparsers`` returned."""
    parser = commands.add_parser(
        "bench",
        help="measure how fast the tutorials' steps and the operations under them are here",
        description=(
            "Time a step of each tutorial, the operations under it, how their cost grows, and what comes before any\n"
            "work, each in a process of its own, beside what the machine can do: copying memory, multiplying matrices\n"
            "(torch), and a loop of multiply-adds (Taichi). Prints tables in Markdown. Leave the machine alone for\n"
            "the minutes that it takes."
        ),
        epilog=(
            "examples:\n"
            "  tirender bench --json speed.json --plot scaling.png\n"
            "  tirender bench --only volume march\n"
            "  tirender bench --quick\n"
            "  tirender bench --peer pytorch3d"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="rows of these names, or of names that contain these (see --list)"
    )
    parser.add_argument("--list", action="store_true", help="print the names, and measure nothing")
    parser.add_argument("--quick", action="store_true", help="the tutorials' steps alone, and few runs of each")
    parser.add_argument(
        "--peer", metavar="LIBRARY", help="run the steps on another library too, by turns: pytorch3d, where installed"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw how cost grows with sizes")
    add_arch(parser)
    parser.set_defaults(run=_bench)


def _bench(args: argparse.Namespace) -> int:
    """Measure; 1 where a row could not be, the others and the JSON are there all the same."""
    from tirender.bench import worker
    from tirender.bench.peer import PEERS, check_installed
    from tirender.bench.scaling import SERIES, check_format, plot
    from tirender.bench.starting import STARTS
    from tirender.bench.workloads import STEPS, WORKLOADS
    from tirender.checks import fail
    from tirender.io.files import write_file

    names = [*PEERS] if args.peer else [*WORKLOADS, *SERIES, *STARTS]
    if args.quick and not args.only:
        names = [name for name in names if name in STEPS]
    if args.only:
        exact = {*names}.intersection(args.only)
        parts = {*args.only} - exact
        names = [name for name in names if name in exact or any(part in name for part in parts)]
    if not names:
        fail("--only", "parts of the names that --list prints", " ".join(args.only))
    if args.list:
        print("\n".join(names))
        return 0
    if args.peer is not None:
        check_installed(args.peer)
    for file in (args.json, args.plot):
        if file and (file.is_dir() or not file.parent.is_dir()):
            fail("--json, --plot", "files in folders that exist", repr(str(file)))
        if file:
            _try_folder(file.parent)
    if args.plot and not {*names} & {*SERIES}:
        fail("--plot", "a series (scale-...) among what is measured", " ".join(names))
    if args.plot:
        check_format(args.plot)

    def ask(task: str, **request: Any) -> Any:
        """An answer; of what fails, its ``error`` alone."""
        try:
            return worker.run({"task": task, "arch": args.arch, **request})
        except RuntimeError as error:
            return {"error": str(error)}

    factor = QUICK if args.quick else 1.0
    found = worker.run({"task": "limits", "arch": args.arch, "budget": factor * LIMIT_BUDGET})
    results: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        **found,
        "rows": {},
        **({"peer": args.peer} if args.peer else {"series": {}, "starts": {}}),
    }
    _print_machine(found)
    try:
        if args.peer:
            _peers(ask, names, args.peer, factor * PEER_BUDGET, results["rows"])
        else:
            _rows(ask, [n for n in names if n in WORKLOADS], found["rates"], factor * ROW_BUDGET, results["rows"])
            _series(ask, [n for n in names if n in SERIES], factor * SERIES_BUDGET, results["series"])
            _starts(ask, [n for n in names if n in STARTS], results["starts"])
    except KeyboardInterrupt:
        if args.json and any(results.get(part) for part in PARTS):
            raise KeyboardInterrupt(f"interrupted; {args.json} has what was measured") from None
        raise
    finally:  # whatever ended it
        if args.json and any(results.get(part) for part in PARTS):
            write_file(args.json, [(json.dumps(results, indent=1) + "\n").encode()])
    if args.plot and (drawn := _measured(results["series"])):
        plot(drawn, args.plot)
    measured = [results.get(part, {}).values() for part in PARTS]
    return int(any("error" in result for part in measured for result in part))


def _try_folder(folder: Path) -> None:
    """A ValueError now, and not minutes later, where nothing can be written."""
    from tirender.checks import fail

    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        fail("--json, --plot", "files in folders to write to", f"{folder} ({error.strerror})")


def _measured(results: dict[str, Any]) -> dict[str, Any]:
    """Those that did not fail."""
    return {name: result for name, result in results.items() if "error" not in result}


def _print_machine(found: dict[str, Any]) -> None:
    from tirender.bench.table import limits_line

    machine = found["machine"]
    versions = ", ".join(f"{name} {machine[name]}" for name in ("tirender", "taichi", "torch"))
    print(f"{machine['device']}, arch {machine['arch']}; {versions}\n{limits_line(found['rates'])}\n", flush=True)


def _rows(ask: Any, names: Sequence[str], rates: dict[str, float], budget: float, results: dict[str, Any]) -> None:
    """Measure, print the table, and fill the results."""
    from tirender.bench.table import COLUMNS, Table, cells
    from tirender.bench.workloads import WORKLOADS

    if not names:
        return
    widths = (max(len(w.title) for w in WORKLOADS.values()), 7, 7, 17, 19, 11, 9, 7)
    table = Table(COLUMNS, widths)
    print(table.head(), flush=True)
    for name in names:
        workload = WORKLOADS[name]
        _tell(workload.title)
        results[name] = result = ask("row", name=name, budget=budget)
        if "error" in result:
            print(table.failed(workload.title, result["error"]), flush=True)
            continue
        print(table.row(cells(workload.title, workload.unit, result, rates)), flush=True)
    print("\nof limit: the least time in which this machine could copy, multiply or loop so, beside the median")
    print("first run: with kernels from the cache, where they are")
    base = min((r["base_memory"] for r in _measured(results).values() if r["base_memory"]), default=None)
    if base is not None:
        print(f"memory: the most that the process had, {base / 1e6:.0f} MB of it before any work: torch and Taichi, as")
        print("forked with them, where that can be; a program that imports them itself has more")


def _series(ask: Any, names: Sequence[str], budget: float, results: dict[str, Any]) -> None:
    """Measure how cost grows, print the table, and fill the results."""
    from tirender.bench.scaling import SERIES, slope
    from tirender.bench.table import Table, quantity, seconds

    if not names:
        return
    table = Table(("how cost grows", "from", "to", "slope"), (37, 18, 18, 5))
    print(f"\n{table.head()}", flush=True)
    for name in names:
        series = SERIES[name]
        _tell(series.title)
        rows = ask("series", name=series.workload, budget=budget, settings=[s for _, s in series.points])
        if "error" in rows:
            results[name] = rows
            print(table.failed(f"{series.title}, {series.axis}", rows["error"]), flush=True)
            continue
        sizes, medians = [size for size, _ in series.points], [row["median"] for row in rows]
        results[name] = {"sizes": sizes, "medians": medians, "slope": slope(sizes, medians), "rows": rows}
        ends = [f"{quantity(s)}: {seconds(t)}" for s, t in zip((sizes[0], sizes[-1]), (medians[0], medians[-1]))]
        print(table.row([f"{series.title}, {series.axis}", *ends, f"{results[name]['slope']:.2f}"]), flush=True)
    print("\nslope: s, where time grows as size ** s; over all sizes, of which the smallest cost what any launch does")


def _starts(ask: Any, names: Sequence[str], results: dict[str, Any]) -> None:
    """Time what comes before any work, print the table, and fill the results."""
    from tirender.bench.starting import STARTS
    from tirender.bench.table import Table, seconds

    if not names:
        return
    table = Table(("before any work", "time"), (max(map(len, STARTS.values())), 7))
    print(f"\n{table.head()}", flush=True)
    for name in names:
        _tell(STARTS[name])
        results[name] = result = ask(name)
        if "error" in result:
            print(table.failed(STARTS[name], result["error"]), flush=True)
            continue
        print(table.row([STARTS[name], seconds(result["seconds"])]), flush=True)
    if memory := results.get("start", {}).get("memory"):
        print(f"\nmemory of a program that has just imported torch and Taichi: {memory / 1e6:.0f} MB")


def _peers(ask: Any, names: Sequence[str], library: str, budget: float, results: dict[str, Any]) -> None:
    """Measure by turns, print the table, and fill the results."""
    from tirender.bench.table import Table, seconds
    from tirender.bench.workloads import STEPS

    table = Table(("by turns", "tirender", library, "ratio"), (max(len(STEPS[name].title) for name in names), 9, 9, 7))
    print(table.head(), flush=True)
    for name in names:
        _tell(STEPS[name].title)
        results[name] = result = ask("peer", name=name, library=library, budget=budget)
        if "error" in result:
            print(table.failed(STEPS[name].title, result["error"]), flush=True)
            continue
        times = [seconds(median) for median in result["medians"]]
        print(table.row([STEPS[name].title, *times, f"{result['ratio']:.2f}"]), flush=True)


def _tell(title: str) -> None:
    """Say on a terminal what is being measured; the row takes its place."""
    if sys.stdout.isatty():
        print(f"{title} ...", end="\r", flush=True)
