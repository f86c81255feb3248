"""rows.py: what programs of this folder tell deploy/bench: lines of JSON, one a figure; README.md has the contract. Standard library only."""
import json
import os

MEMBERS = ("name", "value", "unit", "peer", "peer_value", "ratio", "objective", "peer_objective")
MORE_IS_BETTER = ("GF/s", "GB/s", "tokens/s", "tasks/s", "x", "%")
LESS_IS_BETTER = ("s", "ms", "bytes", "perplexity", "relative", "exponent")


def emit(name, value, unit, **more):
    """One row; `more` are other members. A figure that could not be measured has the value None and says why in `note`."""
    print(json.dumps(dict({"name": name, "value": value, "unit": unit}, **more)), flush=True)


def row_of(line, part):
    """A row with every member from a line of a program, or None where the line is none."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    if not isinstance(found, dict) or not isinstance(found.get("name"), str) or "unit" not in found or "value" not in found:
        return None
    if found["unit"] not in MORE_IS_BETTER + LESS_IS_BETTER:
        raise ValueError("%s: the unit '%s' is not in %s" % (found["name"], found["unit"], ", ".join(MORE_IS_BETTER + LESS_IS_BETTER)))
    row = dict({member: None for member in MEMBERS}, **found, part=part)
    row["ratio"] = ratio_of(row)
    return row


def ratio_of(row):
    """How many times better than the peer: as the program found it (it may be a median of ratios), or of the two values."""
    value, peer = row["value"], row["peer_value"]
    if row["ratio"] is not None or not value or not peer:
        return row["ratio"]
    return value / peer if row["unit"] in MORE_IS_BETTER else peer / value


def is_met(row):
    """Whether the row's goal, {"ratio": least, "value": bound, "objective": most}, is reached; None where nothing was measured."""
    goal, more = row["goal"], row["unit"] in MORE_IS_BETTER
    found = []
    for member, bound in goal.items():
        if row[member] is None:
            return None
        found.append(row[member] >= bound if member == "ratio" or (member == "value" and more) else row[member] <= bound)
    return all(found)


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown processor")
    except OSError:
        return "unknown processor"


def instruction_sets():
    """Those of the processor's that decide which kernels run."""
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile")
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            flags = next((line.split(":", 1)[1].split() for line in file if line.startswith("flags")), [])
    except OSError:
        return []
    return [name for name in wanted if name in flags]


def machine():
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {"processor": processor(), "processors": os.cpu_count(), "usable": len(os.sched_getaffinity(0)), "memory": pages,
            "instruction_sets": instruction_sets(), "system": " ".join(os.uname()[i] for i in (0, 2, 4)), "load": round(os.getloadavg()[0], 2)}
