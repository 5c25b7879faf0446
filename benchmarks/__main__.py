"""Run the suite: what the package does against what one would otherwise write, timed side by side.

    python -m benchmarks                                              # all cases, a table
    python -m benchmarks closed-form dense --json FILE                # two of them, and their numbers
    python -m benchmarks --keep suite.jsonl --docs docs/benchmarks/suite

Each case first checks that both ways come to the same result, to rounding or, where one draws, in standard errors. Then
they run in turns, on one core with one BLAS thread; the ratio is the median over the rounds of their time over ours,
with its quartiles. Sizes are swept; slopes are those of log time against log size at the three largest sizes of a side.

`--list` names the cases, `--quick` runs small sizes. With `--keep` an interrupted run goes on where it stopped. The
exit status is 1 if two results do not agree, and 2 for a name that is not a case's.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from benchmarks import aspect_ratio, closed_form, fluctuations, leave_one_out, lora_layer, path, simulators, suite
from benchmarks.reports import Keep, version_numbers, versions
from benchmarks.suite import Case, Row

CASES: dict[str, Case] = {
    name: case
    for module in (closed_form, path, simulators, leave_one_out, fluctuations, lora_layer, aspect_ratio)
    for name, case in module.CASES.items()
}

PACKAGES = ("scipy", "numba", "scikit-learn")

SECONDS = 3.0
"""That the rounds of a comparison may take, short of the fewest."""


def measured(case: str, size: int, repeats: int, quick: bool, of: str) -> Row:  # noqa: ARG001
    """Return a comparison; `of` says what was installed, so that results of other versions are not taken for it."""
    return suite.compared(case, CASES[case], size, repeats, 0.0 if quick else SECONDS)


def run(names: list[str], keep: Keep, repeats: int, *, quick: bool) -> list[Row]:
    """Return the comparisons of some cases at all their sizes, printing each case as it is finished."""
    rows: list[Row] = []
    for name in names:
        case = CASES[name]
        sizes = case.quick if quick else (*case.sizes, *case.alone)
        common = {"repeats": repeats, "quick": quick, "of": versions(*PACKAGES)}
        mine = keep.map(measured, [{"case": name, "size": size, **common} for size in sizes], name)
        rows += mine
        print(f"{name}: {case.job}\n    against {case.against}\n")
        print(suite.comparisons({name: case}, mine), flush=True)
    return rows


def document(rows: list[Row], *, quick: bool, repeats: int) -> dict[str, Any]:
    """Return all that was measured, and where, in terms of JSON."""
    return {
        "date": suite.today(),
        "machine": suite.machine(),
        "versions": version_numbers(*PACKAGES),
        "quick": quick,
        "repeats": repeats,
        "cases": [
            {
                "name": name,
                "job": case.job,
                "against": case.against,
                "size": case.label,
                "slopes": suite.slopes(suite.of(rows, name)),
                "rows": [{k: v for k, v in row.items() if k != "case"} for row in suite.of(rows, name)],
            }
            for name, case in CASES.items()
            if suite.of(rows, name)
        ],
    }


def fragments(about: dict[str, Any], rows: list[Row]) -> dict[str, str]:
    """Return what the page of the docs includes: summary, list of the cases, all sizes."""
    machine, threads = about["machine"], about["machine"]["blas_threads"]
    trial = "**A trial run (`--quick`), not a measurement.** " if about["quick"] else ""
    where = (
        f"{trial}{machine['cpu']}, {machine['cores']} cores, {machine['os']}; {versions(*PACKAGES)}; "
        f"{machine['blas']} with {threads} thread{'s' * (threads != 1)}; {about['date']}.\n"
    )
    jobs = "".join(f"- **{name}**: {case.job}; against {case.against}.\n" for name, case in CASES.items())
    summary = [suite.overview(CASES, rows), suite.slower(CASES, rows) + "\n", where]
    return {"summary": "\n".join(summary), "cases": jobs, "sizes": suite.comparisons(CASES, rows)}


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

    keep = Keep(options.keep)
    names = [name for name in CASES if not options.names or name in options.names]
    with threadpool_limits(1, user_api="blas"):
        try:
            rows = run(names, keep, repeats, quick=options.quick)
        except ArithmeticError as error:
            print(error, file=sys.stderr)
            return 1
        about = document(rows, quick=options.quick, repeats=repeats)
    chosen = {name: CASES[name] for name in names}
    print(suite.overview(chosen, rows))
    print(suite.slower(chosen, rows))
    numbers = json.dumps(about, ensure_ascii=False, indent=1) + "\n"
    if options.json:
        Path(options.json).write_text(numbers, encoding="utf-8")
    if options.docs:
        found = aspect_ratio.study(keep, *((3, 40, 100, 5) if options.quick else (9, 100, 4000, 10)))
        folder = Path(options.docs)
        folder.mkdir(parents=True, exist_ok=True)
        texts = fragments(about, rows) | {"aspect_ratio": aspect_ratio.summary(found)}
        for name, text in texts.items():
            (folder / f"{name}.md").write_text(text, encoding="utf-8")
        (folder / "suite.json").write_text(numbers, encoding="utf-8")
        suite.plot(CASES, rows, folder / "sizes.png")
        aspect_ratio.plot(found, folder / "aspect_ratio.png")
        print(f"Written to {folder}: {', '.join(texts)}.md, suite.json, sizes.png, aspect_ratio.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
