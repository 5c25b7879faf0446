"""Run the suite: what the package does against what one would otherwise write, timed side by side.

    python -m benchmarks                                              # all cases, a table
    python -m benchmarks closed-form dense --json FILE                # two of them, and their numbers
    python -m benchmarks --keep suite.jsonl --docs docs/benchmarks/suite

Each case first checks that both ways come to the same result, to rounding or, where one draws, in standard errors. Then
they run in turns, on one core with one BLAS thread; the ratio is the median over the rounds of their time over ours,
with its quartiles. Sizes are swept; slopes are those of log time against log size at the three largest sizes of both
sides, and beyond them at the three largest of ours.

`--list` names the cases, `--quick` runs small sizes. With `--keep` an interrupted run goes on where it stopped, given
the same sources, versions and machine. The exit status is 1 if two results do not agree, 2 for bad arguments or if a
package is missing, and 130 after an interruption.
"""

import argparse
import json
import sys
from pathlib import Path

try:
    from threadpoolctl import threadpool_limits

    from benchmarks import (
        aspect_ratio,
        closed_form,
        fluctuations,
        leave_one_out,
        lora_layer,
        path,
        simulators,
        suite,
        tables,
    )
    from benchmarks.reports import Keep, machine, sources, version_numbers
    from benchmarks.suite import Case, Row
except ModuleNotFoundError as error:
    if __name__ != "__main__" or (error.name or "").split(".")[0] not in ("sklearn", "threadpoolctl"):
        raise
    print(f"{error.name} is missing, which the benchmarks need: pip install 'rmt_alpha[data]'", file=sys.stderr)
    sys.exit(2)

CASES: dict[str, Case] = {
    name: case
    for module in (closed_form, path, simulators, leave_one_out, fluctuations, lora_layer, aspect_ratio)
    for name, case in module.CASES.items()
}

SECONDS = 3.0
"""That the rounds of a comparison may take, short of the fewest."""


def measured(case: str, size: int, repeats: int, quick: bool) -> Row:
    """Return a comparison: plain data."""
    return suite.compared(case, CASES[case], size, repeats, 0.0 if quick else SECONDS)


def run(names: list[str], keep: Keep, repeats: int, *, quick: bool) -> list[Row]:
    """Return the comparisons of some cases at all their sizes, printing each case as it is finished."""
    rows: list[Row] = []
    for name in names:
        case = CASES[name]
        sizes = case.quick if quick else (*case.sizes, *case.alone)
        common = {"repeats": repeats, "quick": quick}
        mine = keep.map(measured, [{"case": name, "size": size, **common} for size in sizes], name)
        rows += mine
        print(f"{name}: {case.job}\n    against {case.against}\n")
        print(tables.comparisons({name: case}, mine), flush=True)
    return rows


def file_at(name: str) -> Path:
    """Return the path of a file that can be written, and make its folder."""
    found = Path(name)
    if found.is_dir():
        raise argparse.ArgumentTypeError(f"{name} is a folder, where a file is needed")
    folder_at(str(found.parent))
    return found


def folder_at(name: str) -> Path:
    """Return the path of a folder, and make it."""
    found = Path(name)
    try:
        found.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{name} cannot be made a folder: {error.strerror}") from None
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="cases to run, as --list has them (default: all)")
    parser.add_argument("--list", action="store_true", help="name the cases, and do nothing else")
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds: a trial, not a measurement")
    parser.add_argument("--repeats", type=int, help="rounds at most (default: 15, quick: 2)")
    parser.add_argument("--keep", metavar="FILE", help="JSON lines with what is finished: read first, then added to")
    parser.add_argument("--json", metavar="FILE", help="where to write all numbers")
    parser.add_argument("--docs", metavar="FOLDER", help="where to write the tables, the pictures and all numbers")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in CASES]
    if unknown:
        parser.error(f"unknown case {', '.join(unknown)}; choose from {', '.join(CASES)}")
    if options.docs and options.names:
        parser.error("--docs writes the tables of all cases: leave the names out")
    repeats = options.repeats if options.repeats is not None else 2 if options.quick else 15
    if repeats < 1:
        parser.error(f"--repeats must be at least 1, got {repeats}")
    if options.list:
        for name, case in CASES.items():
            print(f"{name:20} {case.job}\n{'':20}     against {case.against}")
        return 0

    places = {"keep": file_at, "json": file_at, "docs": folder_at}
    for name, place in places.items():  # after all other checks, since they make folders
        if (value := getattr(options, name)) is not None:
            try:
                setattr(options, name, place(value))
            except argparse.ArgumentTypeError as error:
                parser.error(f"--{name}: {error}")
    with threadpool_limits(1, user_api="blas"):
        here = {"machine": machine(), "versions": version_numbers(*tables.PACKAGES), "sources": sources()}
        try:
            keep = Keep(options.keep, here)
        except ValueError as error:
            parser.error(f"--keep: {error}")
        try:
            return measure(options, keep, repeats)
        except ArithmeticError as error:
            print(error, file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            finished = "without --keep nothing is kept"
            if options.keep is not None:
                finished = f"what is finished is in {options.keep}, and the same command goes on from there"
            print(f"\nStopped: {finished}.", file=sys.stderr)
            return 130


def measure(options: argparse.Namespace, keep: Keep, repeats: int) -> int:
    """Run what was asked for, print it and write it down."""
    chosen = {name: case for name, case in CASES.items() if not options.names or name in options.names}
    rows = run(list(chosen), keep, repeats, quick=options.quick)
    about = tables.document(CASES, rows, quick=options.quick, repeats=repeats)
    print(tables.overview(chosen, rows))
    print(tables.slower(chosen, rows))
    numbers = json.dumps(about, ensure_ascii=False, indent=1) + "\n"
    if options.json is not None:
        options.json.write_text(numbers, encoding="utf-8")
    if options.docs is not None:
        found = aspect_ratio.study(keep, *((3, 40, 100, 5) if options.quick else (9, 100, 4000, 10)))
        texts = tables.fragments(CASES, about) | {"aspect_ratio": aspect_ratio.summary(found)}
        for name, text in texts.items():
            (options.docs / f"{name}.md").write_text(text, encoding="utf-8")
        (options.docs / "suite.json").write_text(numbers, encoding="utf-8")
        tables.plot(CASES, rows, options.docs / "sizes.png")
        aspect_ratio.plot(found, options.docs / "aspect_ratio.png")
        print(f"Written to {options.docs}: {', '.join(texts)}.md, suite.json, sizes.png, aspect_ratio.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
