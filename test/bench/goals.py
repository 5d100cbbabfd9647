#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Print what the benches found of their goals: build/bench/goals.csv, to which each adds its lines.

What was measured more than once is printed as it was last."""

import csv
import os

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATH = os.path.join(ROOT, "build", "bench", "goals.csv")
FIELDS = ("what", "figure", "goal", "verdict")  # as in bench.c


def add(what, figure, goal, verdict):
    """A line. Returns the verdict."""
    os.makedirs(os.path.dirname(PATH), exist_ok=True)
    with open(PATH, "a", newline="") as f:
        out = csv.writer(f)
        if not f.tell():
            out.writerow(FIELDS)
        out.writerow((what, figure, goal, verdict))
    return verdict


def main():
    try:
        with open(PATH, newline="") as f:
            rows = {r["what"]: [r[k] for k in FIELDS] for r in csv.DictReader(f)}
    except FileNotFoundError:
        rows = {}
    table = [FIELDS, *rows.values()]
    width = [max(map(len, column)) for column in zip(*table)]
    print("\nAll goals\n")
    for what, figure, goal, verdict in table:
        print("%-*s  %*s  %-*s  %s" % (width[0], what, width[1], figure, width[2], goal, verdict))


if __name__ == "__main__":
    main()
