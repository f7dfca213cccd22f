"""``tirender bench``: how fast this machine does the tutorials' steps, and the operations in them."""

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

ROW_BUDGET, SERIES_BUDGET, LIMIT_BUDGET, PEER_BUDGET = 1.5, 0.3, 0.5, 6.0  # seconds, without first runs
QUICK = 0.1  # fraction of these
PARTS = ("rows", "series", "starts")  # of the results


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Add ``bench`` to what ``add_subparsers`` returned."""
    parser = commands.add_parser(
        "bench",
        help="measure how fast this machine does the tutorials' steps, and the operations in them",
        description=(
            "Time a step of each tutorial, the operations in it, how their cost grows, and how long a program\n"
            "takes to start. Each is timed in a process of its own, and compared with the limits of the machine:\n"
            "copying memory, multiplying matrices (torch), and a loop of multiply-adds (Taichi). Prints tables in\n"
            "Markdown. It takes minutes; leave the machine idle meanwhile."
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
        "--only", nargs="+", metavar="NAME", help="measure only what has these names, or names that contain these"
    )
    parser.add_argument("--list", action="store_true", help="only print the names")
    parser.add_argument("--quick", action="store_true", help="only the tutorials' steps, with few runs of each")
    parser.add_argument(
        "--peer", metavar="LIBRARY", help="also run the steps on another library, in turns; it must be installed"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw how cost grows with size")
    add_arch(parser)
    parser.set_defaults(run=_bench)


def _bench(args: argparse.Namespace) -> int:
    """Measure, print and write; 1 if something could not be measured, which does not stop the rest."""
    from tirender.bench.scaling import plot
    from tirender.checks import fail
    from tirender.io.files import write_file

    names = _names(args)
    if args.list:
        if args.json or args.plot:
            fail("--list", "no --json and no --plot beside it, as nothing is measured", str(args.json or args.plot))
        print("\n".join(names))
        return 0
    _check(args, names)
    budget = QUICK if args.quick else 1.0
    limits = _ask(args, "limits", budget=budget * LIMIT_BUDGET)
    results: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        **limits,
        "rows": {},
        **({"peer": args.peer} if args.peer else {"series": {}, "starts": {}}),
    }
    _print_machine(limits)
    try:
        _measure(args, names, budget, results)
    except KeyboardInterrupt:
        if args.json and _is_measured(results):
            raise KeyboardInterrupt(f"interrupted; {args.json} has what was measured") from None
        raise
    finally:  # whatever ended it
        if args.json and _is_measured(results):
            write_file(args.json, [(json.dumps(results, indent=1) + "\n").encode()])
    if args.plot and (drawn := _successes(results["series"])):
        plot(drawn, args.plot)
    measured = [results.get(part, {}).values() for part in PARTS]
    return int(any("error" in result for part in measured for result in part))


def _names(args: argparse.Namespace) -> list[str]:
    """The names of what is asked for."""
    from tirender.bench.peer import PEERS
    from tirender.bench.scaling import SERIES
    from tirender.bench.starting import STARTS
    from tirender.bench.workloads import STEPS, WORKLOADS
    from tirender.checks import fail

    names = [*PEERS] if args.peer else [*WORKLOADS, *SERIES, *STARTS]
    if args.quick and not args.only:
        names = [name for name in names if name in STEPS]
    if args.only:
        exact = {*names}.intersection(args.only)
        parts = {*args.only} - exact
        names = [name for name in names if name in exact or any(part in name for part in parts)]
    if not names:
        fail("--only", "parts of the names that --list prints", " ".join(args.only))
    return names


def _check(args: argparse.Namespace, names: Sequence[str]) -> None:
    """Raise now, and not after minutes, if the peer is missing or a file cannot be written."""
    from tirender.bench.peer import check_installed
    from tirender.bench.scaling import SERIES, check_format
    from tirender.checks import fail

    if args.peer is not None:
        check_installed(args.peer)
    for file in filter(None, (args.json, args.plot)):
        if file.is_dir() or not file.parent.is_dir():
            fail("--json, --plot", "files in folders that exist", repr(str(file)))
        try:
            tempfile.TemporaryFile(dir=file.parent).close()
        except OSError as error:
            fail("--json, --plot", "files in folders to write to", f"{file.parent} ({error.strerror})")
    if args.plot and not {*names} & {*SERIES}:
        fail("--plot", "a series (scale-...) among what is measured", " ".join(names))
    if args.plot:
        check_format(args.plot)


def _measure(args: argparse.Namespace, names: Sequence[str], budget: float, results: dict[str, Any]) -> None:
    """Measure what the names say, print tables, and fill the results.

    Args:
        args: of the command.
        names: of rows, series and starts.
        budget: fraction of the usual time.
        results: have the machine's ``rates``; rows, series and starts are filled in.
    """
    from tirender.bench.scaling import SERIES
    from tirender.bench.starting import STARTS
    from tirender.bench.workloads import WORKLOADS

    def ask(task: str, **request: Any) -> Any:
        """The answer, or a dict with an ``error`` alone."""
        try:
            return _ask(args, task, **request)
        except RuntimeError as error:
            return {"error": str(error)}

    if args.peer:
        _peers(ask, names, args.peer, budget * PEER_BUDGET, results["rows"])
        return
    rows, series, starts = ([name for name in names if name in part] for part in (WORKLOADS, SERIES, STARTS))
    _rows(ask, rows, results["rates"], budget * ROW_BUDGET, results["rows"])
    _series(ask, series, budget * SERIES_BUDGET, results["series"])
    _starts(ask, starts, results["starts"])


def _ask(args: argparse.Namespace, task: str, **request: Any) -> Any:
    """The answer of a process that measures."""
    from tirender.bench import worker

    return worker.run({"task": task, "arch": args.arch, **request})


def _is_measured(results: dict[str, Any]) -> bool:
    return any(results.get(part) for part in PARTS)


def _successes(results: dict[str, Any]) -> dict[str, Any]:
    return {name: result for name, result in results.items() if "error" not in result}


def _print_machine(limits: dict[str, Any]) -> None:
    from tirender.bench.table import limits_line

    machine = limits["machine"]
    versions = ", ".join(f"{name} {machine[name]}" for name in ("tirender", "taichi", "torch"))
    print(f"{machine['device']}, arch {machine['arch']}; {versions}\n{limits_line(limits['rates'])}\n", flush=True)


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
    print("\nof limit: the least time in which this machine could copy, multiply or loop as much, over the median")
    print("first run: with kernels from the cache, if they are there")
    base = min((r["base_memory"] for r in _successes(results).values() if r["base_memory"]), default=None)
    if base is not None:
        print(f"memory: peak of the process. {base / 1e6:.0f} MB of it are torch and Taichi, which processes share if")
        print("the system can fork; a program that imports them itself has more")


def _series(ask: Any, names: Sequence[str], budget: float, results: dict[str, Any]) -> None:
    """Measure how cost grows with size, print the table, and fill the results."""
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
    print("\nslope: the exponent s if time grows as size ** s; at the smallest sizes, launches alone take time")


def _starts(ask: Any, names: Sequence[str], results: dict[str, Any]) -> None:
    """Time how long programs take to start, print the table, and fill the results."""
    from tirender.bench.starting import STARTS
    from tirender.bench.table import Table, seconds

    if not names:
        return
    table = Table(("start", "time"), (max(map(len, STARTS.values())), 7))
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
    """Measure both libraries in turns, print the table, and fill the results."""
    from tirender.bench.table import Table, seconds
    from tirender.bench.workloads import STEPS

    table = Table(("in turns", "tirender", library, "ratio"), (max(len(STEPS[name].title) for name in names), 9, 9, 7))
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
    """On a terminal, say what is being measured; the next row overwrites it."""
    if sys.stdout.isatty():
        print(f"{title} ...", end="\r", flush=True)
