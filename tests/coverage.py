#!/usr/bin/python3
"""How many lines of each file the tests ran, from what gcc's --coverage left in a build folder.

Usage: coverage.py BUILD SOURCE...
Processes in a sandbox cannot write their counts when they end; what only they run counts as not run.
"""
import gzip
import json
import os
import subprocess
import sys
import tempfile


def lines_of(build, source):
    """Line numbers of a source that hold code, and those that ran."""
    note = os.path.abspath(os.path.join(build, os.path.splitext(source)[0] + ".gcno"))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["gcov", "--json-format", note], cwd=folder, capture_output=True, check=False)
        reports = [json.load(gzip.open(entry.path)) for entry in os.scandir(folder)]
    lines = [line for report in reports for file in report["files"] if os.path.normpath(file["file"]) == source
             for line in file["lines"]]
    return ({line["line_number"] for line in lines}, {line["line_number"] for line in lines if line["count"]})


def show(name, code, ran):
    print("%-36s %6d lines  %5.1f %%" % (name, code, 100 * ran / code if code else 0))


def main():
    build, sources = sys.argv[1], sys.argv[2:]
    folders = {}
    for source in sources:
        code, ran = lines_of(build, source)
        show(source, len(code), len(ran))
        total = folders.setdefault(os.path.dirname(source), [0, 0])
        total[0] += len(code)
        total[1] += len(ran)
    print()
    for folder, (code, ran) in folders.items():
        show(folder, code, ran)
    show("all", sum(code for code, _ran in folders.values()), sum(ran for _code, ran in folders.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
