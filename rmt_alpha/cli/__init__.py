"""The command line: ``rmt-alpha COMMAND …``, the same as ``python -m rmt_alpha COMMAND …``.

Exit status: 0 on success, 1 where `compare` finds theory and simulation apart, `lora-demo` theory and training, or
`verify` a false proof, 2 on bad input, 130 when interrupted.
"""

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence

import rmt_alpha as ra
from rmt_alpha._validation import integer
from rmt_alpha.cli._figures import add_figures
from rmt_alpha.cli._fit import add_fit
from rmt_alpha.cli._lora import add_lora_demo
from rmt_alpha.cli._shared import Report, plain
from rmt_alpha.cli._sweep import SWEEP, add_sweep
from rmt_alpha.cli._tasks import add_benchmark_tasks
from rmt_alpha.cli._theory import add_theory
from rmt_alpha.cli._transfer import add_transfer

__all__ = ["SWEEP", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; by default those of the process. None at all means ``demo``.

    Returns
    -------
    int
        The exit status.

    Examples
    --------
    >>> main(["optimal", "--beta", "0.8", "--n", "200", "--p", "400", "--gamma", "0.1", "--json"])  # doctest: +ELLIPSIS
    {"beta": [0.8], "optimal_alpha": [1.2161...
    0
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a Greek letter must not end a run where the terminal has none
            stream.reconfigure(errors="replace")
    parser = _parser()
    arguments = parser.parse_args(argv if argv is not None else sys.argv[1:] or ["demo"])
    try:
        if arguments.seed is not None:
            integer("--seed", arguments.seed, 0)
        report: Report = arguments.run(arguments)
        print(
            json.dumps(plain(report.data), allow_nan=False) if arguments.json else "\n".join(report.lines), flush=True
        )
        return report.status
    except ValueError as error:
        arguments.parser.print_usage(sys.stderr)
        print(f"{arguments.parser.prog}: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a closed terminal
        print(f"{arguments.parser.prog}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rmt-alpha",
        description="Random matrix theory for transfer learning: the best scale of pre-trained weights, predicted and "
        "checked. Without a command: demo.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {ra.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for add in (add_theory, add_lora_demo, add_transfer, add_fit, add_benchmark_tasks, add_sweep, add_figures):
        add(commands)
    return parser
