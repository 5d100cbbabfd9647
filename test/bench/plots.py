#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Draw doc/img/*.svg from what the benches have left in build/bench, and the soak in build/soak. What was
not measured is not drawn, and its old picture stays."""

import csv
import os
import statistics
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
DATA = os.path.join(ROOT, "build", "bench")
IMG = os.path.join(ROOT, "doc", "img")

HEAD = """set terminal svg size 640,380 font "sans-serif,12" background "white" noenhanced
set output "%s"
set title "%s"
set ylabel "%s"
set yrange [0:*]
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.8 noborder
set boxwidth 0.9
set grid ytics
set bmargin 7
set key at screen 0.5, screen 0.02 center bottom horizontal maxrows 2
set xlabel "%s"
set datafile missing "-"
"""


def rows_of(name):
    try:
        with open(os.path.join(DATA, name + ".csv"), newline="") as f:
            return list(csv.DictReader(f))
    except FileNotFoundError:
        return []


def median(rows, column):
    values = [float(r[column]) for r in rows if r[column] not in ("", "nan")]
    return statistics.median(values) if values else None


def draw(name, title, unit, series, groups, below=""):
    """Bars. `series`: names of colours; `groups`: (name, [a value or None per series])."""
    if not groups:
        return
    path = os.path.join(IMG, name + ".svg")
    lines = ["%s %s" % ('"%s"' % group, " ".join("-" if v is None else "%g" % v for v in values))
             for group, values in groups]
    plot = ", ".join('$data using %d:xtic(1) title "%s" lc rgb "%s"' % (i + 2, s, colour)
                     for i, (s, colour) in enumerate(zip(series, ("#888888", "#1f6fb4", "#d9822b", "#57a35a"))))
    text = HEAD % (path, title, unit, below) + "$data << END\n%s\nEND\nplot %s\n" % ("\n".join(lines), plot)
    subprocess.run(["gnuplot"], input=text, text=True, check=True)
    print("doc/img/%s.svg" % name)


def draw_instructions():
    rows = rows_of("instructions")
    draw("instructions", "Instructions of a SIP worker that a module adds to each call", "instructions",
         ("Kamailio's own", "ours"), [(r["variant"], [float(r["stock"]), float(r["ours"])]) for r in rows])


def draw_delays():
    rows, groups = rows_of("calls"), []
    for database in ("", "sqlite", "mysql", "postgres"):
        values = []
        for module in ("stock", "ours"):
            mine = [r for r in rows if r["module"] == module and r["database"] == database
                    and not r["variant"].endswith(" again")]
            values += [median(mine, "p50"), median(mine, "p99")]
        if any(v is not None for v in values):
            groups.append((database or "NO_DB", [values[0], values[2], values[1], values[3]]))
    draw("delay", "INVITE to 200 through the proxy, REALTIME by database", "microseconds",
         ("Kamailio's own, median", "ours, median", "Kamailio's own, 99 %", "ours, 99 %"), groups)


def draw_finding():
    rows, groups = rows_of("table"), []
    for size in ("4096", "65536"):
        for dialogs in ("10000", "1000000"):
            mine = [r for r in rows if r["hash_size"] == size and r["dialogs"] == dialogs]
            values = [median([r for r in mine if r["what"] == what], "ns")
                      for what in ("reading alone", "by cookie", "by Call-ID and tags")]
            if mine:
                groups.append(("%s / %s" % ({"10000": "10 k", "1000000": "1 M"}[dialogs], size), values))
    draw("finding", "Finding one dialog of many", "nanoseconds",
         ("only reading the same memory", "by cookie", "by Call-ID and tags"), groups, "dialogs / hash_size")


def draw_restoring():
    rows, groups = rows_of("restore"), []
    for name, kinds in (("sqlite", ("sqlite fetch", "sqlite restore")), ("mysql", ("mysql fetch", "mysql restore")),
                        ("postgres", ("postgres fetch", "postgres restore")),
                        ("proxy, sqlite", ("", "host ours", "host stock"))):
        values = []
        for what in kinds:
            rates = [float(r["rows"]) / float(r["seconds"]) / 1000 for r in rows if r["what"] == what]
            values.append(statistics.median(rates) if rates else None)
        if values[1] is not None:
            groups.append((name, (values + [None])[:3]))
    draw("restore", "Dialogs restored at start", "thousands a second",
         ("rows fetched by the driver alone", "restored", "by Kamailio's own"), groups)


SOAK = """set terminal svg size 640,380 font "sans-serif,12" background "white" noenhanced
set output "%s"
set title "Memory in the soak: lives of the proxy, one after the other"
set xlabel "minutes"
set ylabel "MB"
set yrange [0:*]
set grid ytics
set key center right
set datafile separator ","
plot "%s" using ($1/60):($8/1024) every 6::1 with lines lc rgb "#888888" title "private memory of all processes", \\
     "" using ($1/60):($7/1048576) every 6::1 with lines lc rgb "#1f6fb4" title "shared memory in use", \\
     "" using ($1/60):($6/1048576) every 6::1 with lines lc rgb "#d9822b" title "of which the module holds"
"""


def draw_soak():
    data = os.environ.get("SOAK_CSV", os.path.join(ROOT, "build", "soak", "memory.csv"))
    if os.path.exists(data):
        subprocess.run(["gnuplot"], input=SOAK % (os.path.join(IMG, "soak.svg"), data), text=True, check=True)
        print("doc/img/soak.svg")


def main():
    os.makedirs(IMG, exist_ok=True)
    draw_instructions()
    draw_delays()
    draw_finding()
    draw_restoring()
    draw_soak()


if __name__ == "__main__":
    main()
