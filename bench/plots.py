# plots.py - the entries of results.json as bars, in SVG, by gnuplot.
# SPDX-License-Identifier: MIT
import os
import shutil
import subprocess

import suite

# What a picture helps with. True: on a logarithmic axis.
PLOTS = {"check": True, "queue.sum": True, "drop.sum": True, "stream": True, "sparse.cpu": False, "ref": False,
         "handoff": True, "scale.check": False, "scale.drop": False, "server.instructions": False, "server.throughput": False}

SCRIPT = """
set terminal svg size 900,420 font "sans,12" background "white"
set output "{output}"
set title "{title}" noenhanced
set ylabel "{unit}"
set style data histograms
set style histogram errorbars gap 1 lw 1
set style fill solid 0.7 border -1
set xtics rotate by -35 noenhanced
set grid ytics
set key top left
{scale}
$data << EOD
{data}
EOD
plot {plots}
"""


def bars(entries):
    """One line for each subject, and in it for each series (producers and size): median, min, max."""
    series = sorted({(e["producers"], e["size"]) for e in entries})
    lines = []
    for subject in dict.fromkeys(e["subject"] for e in entries):
        cells = []
        for key in series:
            found = [e for e in entries if e["subject"] == subject and (e["producers"], e["size"]) == key]
            cells += [str(found[0][part]) if found else "?" for part in ("median", "min", "max")]
        lines.append(" ".join([subject] + cells))
    return series, lines


def label(producers, size):
    return ", ".join([f"{producers} producer{'s' if producers > 1 else ''}"] * (producers > 0) + [f"{size:,}"] * (size > 0)) or "median"


def plot(figure, entries, is_log, output):
    series, lines = bars(entries)
    parts = ", ".join(f"$data using {3 * i + 2}:{3 * i + 3}:{3 * i + 4}:xtic(1) title \"{label(*key)}\""
                      for i, key in enumerate(series))
    # A logarithm has no place for what is nothing.
    lowest = max(0.1, min(e["median"] for e in entries) / 2)
    script = SCRIPT.format(output=output, title=f"{figure.name}: {figure.title}", unit=entries[0]["unit"], plots=parts,
                           scale=f"set logscale y; set yrange [{lowest}:*]" if is_log else "set yrange [0:*]",
                           data="\n".join(lines))
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


def draw(entries, directory):
    """Returns what was drawn, or why nothing was."""
    if not shutil.which("gnuplot"):
        return "no plots: they need gnuplot-nox"
    os.makedirs(directory, exist_ok=True)
    count = 0
    for figure in suite.FIGURES:
        mine = [e for e in entries if e["figure"] == figure.name and "median" in e]
        if figure.name in PLOTS and mine:
            plot(figure, mine, PLOTS[figure.name], os.path.join(directory, figure.name + ".svg"))
            count += 1
    return f"{count} plots in {directory}"
