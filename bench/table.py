# table.py - the entries of results.json as a table in Markdown.
# SPDX-License-Identifier: MIT
HEAD = ["figure", "subject", "producers", "median", "min .. max", "unit", "x floor", "x tether", "x tether-batch", "target", "met"]


def number(value):
    return f"{value:z,.0f}" if abs(value) >= 1000 else f"{value:z.1f}" if abs(value) >= 100 else f"{value:z.2f}"


def usual_size(figure):
    return 4000 if figure.startswith(("queue", "drop")) else 0


def row(entry):
    name = entry["figure"]
    if entry["size"] and entry["size"] != usual_size(name) and not name.startswith(("stream", "sparse")):
        name += f" ({entry['size']:,})"
    met = {True: "yes", False: "no", None: "-"}
    return [name, entry["subject"], str(entry["producers"] or ""), number(entry["median"]),
            f"{number(entry['min'])} .. {number(entry['max'])}", entry["unit"],
            *[f"{entry['ratios'][s]:.2f}" if s in entry["ratios"] else "" for s in ("floor", "tether", "tether-batch")],
            "; ".join(target["text"] for target in entry["targets"]),
            "; ".join(met[target["met"]] for target in entry["targets"])]


def skipped(entries):
    """A line for each reason, with what it took away."""
    reasons = {}
    for entry in entries:
        if "skipped" in entry:
            reasons.setdefault(entry["skipped"], {}).setdefault(entry["subject"], []).append(entry["figure"])
    return [f"- {why}: " + "; ".join(f"`{subject}` in {', '.join(figures)}" for subject, figures in found.items())
            for why, found in reasons.items()]


def markdown(entries):
    rows = [HEAD] + [row(entry) for entry in entries if "median" in entry]
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(HEAD))]
    rows.insert(1, ["-" * width for width in widths])
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths)) + " |" for cells in rows]
    missing = skipped(entries)
    return "\n".join(lines + (["", "Skipped:", ""] + missing if missing else [])) + "\n"
