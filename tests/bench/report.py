"""report.py: bench.json as Markdown with plots. The plots are SVG written here: bars of ratios to peers, lines of growth, both on logarithmic axes."""
import html
import math
import os

GOAL = {True: "met", False: "**missed**", None: ""}
COLUMNS = ("name", "value", "unit", "peer", "peer's value", "ratio", "objective", "peer's objective", "goal", "")


def number(value):
    if value is None:
        return ""
    if isinstance(value, (int, float)) and abs(value) >= 1e5:
        return "%.3e" % value
    return "%.4g" % value


def goal_text(row):
    if not row.get("goal"):
        return ""
    less = row["unit"] in ("s", "ms", "bytes", "perplexity", "relative", "exponent")
    return ", ".join("%s %s %s" % (member, "≥" if member == "ratio" or (member == "value" and not less) else "≤", number(bound))
                     for member, bound in row["goal"].items())


def plain(row):
    """One row as a line of a terminal."""
    parts = ["%s: %s %s" % (row["name"], number(row["value"]) or "-", row["unit"])]
    if row["peer_value"] is not None:
        parts.append("%s %s, ratio %s" % (row["peer"], number(row["peer_value"]), number(row["ratio"])))
    if row["objective"] is not None:
        parts.append("objective %s%s" % (number(row["objective"]), "" if row["peer_objective"] is None else " beside " + number(row["peer_objective"])))
    return "; ".join(parts)


def table(found):
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    for row in found:
        cells = [row["name"], number(row["value"]), row["unit"], row["peer"] or "", number(row["peer_value"]), number(row["ratio"]), number(row["objective"]),
                 number(row["peer_objective"]), goal_text(row), GOAL[row.get("met")] if row["value"] is not None else ""]
        cells[-1] = " ".join(text for text in (cells[-1], row.get("note")) if text)
        lines.append("| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in cells) + " |")
    return lines


# ---- plots ----

WIDTH, LEFT, RIGHT, LINE = 880, 400, 70, 20


def svg(height, parts):
    return '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">\n' \
           '<rect width="100%%" height="100%%" fill="white"/>\n%s\n</svg>\n' % (WIDTH, height, "\n".join(parts))


def label(x, y, text, anchor="start", colour="#222"):
    return '<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s">%s</text>' % (x, y, anchor, colour, html.escape(str(text)))


def bars(found):
    """How many times better than the peer, from 1/10 to what there is; a tick is a goal."""
    top = max(10.0, *(row["ratio"] for row in found))
    low = min(0.5, *(row["ratio"] for row in found))
    place = lambda ratio: LEFT + (WIDTH - LEFT - RIGHT) * math.log(ratio / low) / math.log(top / low)  # noqa: E731
    parts = [label(LEFT, 16, "times better than the peer (logarithmic)")]
    for i, row in enumerate(found):
        y = 28 + LINE * i
        start, end = sorted((place(1), place(row["ratio"])))
        parts.append(label(LEFT - 8, y + 13, row["name"][:64], "end"))
        parts.append('<rect x="%.1f" y="%d" width="%.1f" height="14" fill="%s"/>' % (start, y + 2, max(end - start, 1), "#b4553b" if row["ratio"] < 1 else "#3b6ea8"))
        parts.append(label(end + 4, y + 13, "%.3g" % row["ratio"]))
        goal = (row.get("goal") or {}).get("ratio")
        if goal and low <= goal <= top:
            parts.append('<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#111" stroke-width="2"/>' % (place(goal), place(goal), y, y + 18))
    parts.append('<line x1="%.1f" x2="%.1f" y1="24" y2="%d" stroke="#888"/>' % (place(1), place(1), 28 + LINE * len(found)))
    return svg(40 + LINE * len(found), parts)


def lines(title, found):
    """Series of rows with a `plot` {"chart", "series", "x", "x_unit"} on two logarithmic axes."""
    height, bottom, left = 360, 310, 80
    xs, ys = [row["plot"]["x"] for row in found], [row["value"] for row in found]
    place = lambda value, low, high, start, end: start + (end - start) * math.log(value / low) / (math.log(high / low) or 1)  # noqa: E731
    at = lambda row: (place(row["plot"]["x"], min(xs), max(xs), left, WIDTH - 160), place(row["value"], min(ys), max(ys), bottom, 40))  # noqa: E731
    parts = [label(left, 20, title)]
    for x in sorted(set(xs)):
        parts.append(label(place(x, min(xs), max(xs), left, WIDTH - 160), bottom + 20, "%g" % x, "middle"))
    for y in (min(ys), max(ys)):
        parts.append(label(left - 8, place(y, min(ys), max(ys), bottom, 40) + 4, number(y), "end"))
    parts.append(label((left + WIDTH - 160) / 2, bottom + 40, found[0]["plot"]["x_unit"], "middle"))
    for i, name in enumerate(sorted({row["plot"]["series"] for row in found})):
        colour = ("#3b6ea8", "#b4553b", "#4c8c4a", "#8a5fa8")[i % 4]
        points = [at(row) for row in sorted((row for row in found if row["plot"]["series"] == name), key=lambda row: row["plot"]["x"])]
        parts.append('<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>' % (colour, " ".join("%.1f,%.1f" % point for point in points)))
        parts += ['<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (*point, colour) for point in points]
        parts.append(label(points[-1][0] + 10, points[-1][1] + 4, name, colour=colour))
    return svg(height, parts)


def plots(results):
    """(file, title, SVG) of every part that has something to plot."""
    for part in dict.fromkeys(row["part"] for row in results):
        found = [row for row in results if row["part"] == part and row["ratio"]]
        if found:
            yield part, part + "-ratios.svg", "%s beside peers" % part, bars(found)
    drawn = [row for row in results if row.get("plot") and row["value"]]
    for number_of, chart in enumerate(dict.fromkeys(row["plot"]["chart"] for row in drawn), 1):
        found = [row for row in drawn if row["plot"]["chart"] == chart]
        yield found[0]["part"], "growth-%d.svg" % number_of, chart, lines("%s, %s (logarithmic)" % (chart, found[0]["unit"]), found)


# ---- the report ----

def head(whole):
    machine = whole["machine"]
    lines_ = ["# Speed and memory, beside the peers", "",
              "%s, %d of %d processors, %.0f GB, %s; load %.1f at the start. %s UTC, `%s`, %.0f s." % (
                  machine["processor"], machine["usable"], machine["processors"], machine["memory"] / 1e9,
                  ", ".join(machine["instruction_sets"]) or "no vector extensions named", machine["load"], whole["date"], " ".join(whole["command"]),
                  whole["seconds"])]
    if whole["quick"]:
        lines_.append("\n**A quick run: it shows that everything runs, its figures mean nothing.**")
    return lines_ + ["", "A ratio above 1 is how many times better than the peer. The objective is what both sides minimize, or perplexity where a whole model was",
                     "quantized: it tells whether they did the same work."]


def write(out, whole):
    drawn = list(plots(whole["results"]))
    text = head(whole)
    for part in dict.fromkeys(row["part"] for row in whole["results"]):
        text += ["", "## " + part, ""] + table([row for row in whole["results"] if row["part"] == part])
        for of, name, title, picture in drawn:
            if of != part:
                continue
            text += ["", "![%s](%s)" % (title, name)]
            with open(os.path.join(out, name), "w", encoding="utf-8") as file:
                file.write(picture)
    with open(os.path.join(out, "report.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(text) + "\n")
