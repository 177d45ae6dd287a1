#!/usr/bin/env python3
"""Tables of a profile: time by range (phase, layer with its policy stage) and by kernel, beside what is known of the limit.

    report.py [PROFILE] [--run run.json] [--ncu kernels.csv] [--peak-tflops T] [--peak-gbs G] [--csv]

PROFILE is what Nsight Systems wrote (.nsys-rep, or its export .sqlite), or the file of 'parvts run --profile' (.json).
--run    the object that 'parvts run --json' printed for the same command: FLOPs of each layer of the prefill
--ncu    what 'ncu --csv --page raw' printed: bytes moved and shares of the hardware's own limits, kernel by kernel
--peak-* the machine's limits, measured or from its data sheet; without them no share of a limit is stated
--all    also 'policy N' where the policy decides in no time

What is not known stands as '-': nothing is estimated. A range's device time is that of the kernels and graphs that were launched in it. Where a GPU
computes, real or simulated, host times are those of queueing, so rates are stated from device times alone; on the CPU, from the host's.
"""

import argparse
import bisect
import collections
import csv
import json
import os
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile

DOMAIN = "ParVts"
PUSH_POP = 59  # NvtxPushPopRange in NVTX_EVENTS
DOMAIN_CREATE = 75  # NvtxDomainCreate
UNKNOWN = "-"
NO_TIME = 0.05  # milliseconds

Range = collections.namedtuple("Range", "name begin end rows thread")  # nanoseconds
Work = collections.namedtuple("Work", "name begin end launched thread")  # on the device, and when and where it was launched


# --- reading -----------------------------------------------------------------------------------------------------


def read_trace_events(path):
    with open(path, encoding="utf-8") as file:
        events = json.load(file)["traceEvents"]
    return [
        Range(e["name"], round(e["ts"] * 1000), round((e["ts"] + e["dur"]) * 1000), e["args"]["rows"], e["tid"])
        for e in events
        if e["ph"] == "X"
    ]


def columns(base, table):
    return {row[1] for row in base.execute(f"PRAGMA table_info({table})")}


def read_ranges(base):
    if not columns(base, "NVTX_EVENTS"):
        return []
    text = "COALESCE(e.text, s.value)"
    join = "NVTX_EVENTS e LEFT JOIN StringIds s ON s.id = e.textId"
    domains = [row[0] for row in base.execute(f"SELECT e.domainId FROM {join} WHERE e.eventType = ? AND {text} = ?", (DOMAIN_CREATE, DOMAIN))]
    rows = "COALESCE(e.int64Value, e.uint64Value, 0)" if "int64Value" in columns(base, "NVTX_EVENTS") else "0"
    found = base.execute(
        f"SELECT {text}, e.start, e.end, {rows}, e.globalTid, e.domainId FROM {join} WHERE e.eventType = ? AND e.end IS NOT NULL", (PUSH_POP,)
    )
    return [Range(*row[:5]) for row in found if row[5] in domains]


def read_work(base):
    work = []
    for table, name in (("CUPTI_ACTIVITY_KIND_KERNEL", "s.value"), ("CUPTI_ACTIVITY_KIND_GRAPH_TRACE", "'graph'")):
        if not columns(base, table):
            continue
        join = "LEFT JOIN StringIds s ON s.id = k.shortName" if name != "'graph'" else ""
        work += [
            Work(*row)
            for row in base.execute(
                f"SELECT {name}, k.start, k.end, r.start, r.globalTid FROM {table} k {join} "
                "LEFT JOIN CUPTI_ACTIVITY_KIND_RUNTIME r ON r.correlationId = k.correlationId"
            )
        ]
    return work


def read_profile(path):
    """(ranges, work on the device)"""
    if path.endswith(".json"):
        return read_trace_events(path), []
    if not path.endswith(".sqlite"):
        with tempfile.TemporaryDirectory() as folder:
            exported = os.path.join(folder, "profile.sqlite")
            subprocess.run(["nsys", "export", "--type", "sqlite", "--output", exported, path], check=True, stdout=subprocess.DEVNULL)
            return read_profile(exported)
    if not os.path.exists(path):
        raise FileNotFoundError(path)
    base = sqlite3.connect(path)
    try:
        return read_ranges(base), read_work(base)
    finally:
        base.close()


def read_ncu(path):
    """{kernel: {metric: [values]}}; units in the second line are brought to seconds, bytes and plain numbers."""
    scale = {"nsecond": 1e-9, "usecond": 1e-6, "msecond": 1e-3, "second": 1.0, "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
    scale.update({"byte": 1.0, "Kbyte": 1e3, "Mbyte": 1e6, "Gbyte": 1e9})
    with open(path, encoding="utf-8", newline="") as file:
        # What the program itself printed may stand before the table.
        lines = [line for line in file if line.startswith('"')]
    table = list(csv.reader(lines))
    if len(table) < 2:
        return {}
    header, units = table[0], table[1]
    kernels = {}
    for line in table[2:]:
        kernel = kernels.setdefault(line[header.index("Kernel Name")].split("(")[0], collections.defaultdict(list))
        for name, unit, value in zip(header, units, line):
            number = value.replace(",", "")
            if re.fullmatch(r"-?[0-9.]+([eE][-+]?[0-9]+)?", number):
                kernel[name].append(float(number) * scale.get(unit, 1.0))
    return kernels


# --- counting ----------------------------------------------------------------------------------------------------


class Line:
    """All ranges of one name at one place in the tree."""

    def __init__(self, path):
        self.path, self.times, self.rows, self.device = path, [], [], 0


def nest(ranges):
    """The lines in the order in which they first appear; and each range's place: (range, line, the place around it)."""
    lines, places, stacks = {}, [], {}
    for item in sorted(ranges, key=lambda r: (r.begin, -r.end)):
        stack = stacks.setdefault(item.thread, [])
        while stack and stack[-1][0].end < item.end:
            stack.pop()
        around = stack[-1] if stack else None
        path = (around[1].path if around else ()) + (item.name,)
        line = lines.setdefault(path, Line(path))
        line.times.append((item.end - item.begin) / 1e6)
        line.rows.append(item.rows)
        place = (item, line, around)
        stack.append(place)
        places.append(place)
    return list(lines.values()), places


def launch(places, work):
    """Adds each piece of device work to every range that it was launched in."""
    threads = {}
    for place in places:
        threads.setdefault(place[0].thread, []).append(place)
    begins = {thread: [item.begin for item, _, _ in held] for thread, held in threads.items()}
    for piece in work:
        if piece.launched is None or piece.thread not in threads:
            continue
        last = bisect.bisect_right(begins[piece.thread], piece.launched) - 1
        place = threads[piece.thread][last] if last >= 0 else None
        while place:
            item, line, place = place
            if piece.launched <= item.end:
                line.device += (piece.end - piece.begin) / 1e6


def flops_of(path, run):
    """FLOPs of a layer of the prefill, by the run's trace; None where nobody counted."""
    layer = re.match(r"layer (\d+)", path[-1])
    if not run or "prefill" not in path:
        return None
    trace = run["trace"]
    if path[-1] == "prefill":
        return sum(trace["flops_by_layer"])
    return trace["flops_by_layer"][int(layer.group(1))] if layer else None


# --- writing -----------------------------------------------------------------------------------------------------


def number(value, digits=2):
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def percent(value):
    return UNKNOWN if value is None else f"{100 * value:.0f} %"


def range_table(lines, run, peak_tflops, traced):
    on_cpu = bool(run) and run.get("device") == "cpu"
    yield ["range", "times", "rows", "host ms", "device ms", "GFLOP", "TFLOP/s", "of the limit"]
    for line in lines:
        flops = flops_of(line.path, run)
        host = statistics.median(line.times)
        device = line.device / len(line.times) if traced else None
        computing = host if on_cpu else device
        rate = flops / computing / 1e9 if flops and computing else None
        yield [
            "\u00a0" * 2 * (len(line.path) - 1) + line.path[-1],
            str(len(line.times)),
            str(line.rows[0]) if len(set(line.rows)) == 1 else f"{min(line.rows)} to {max(line.rows)}",
            number(host, 3),
            number(device, 3),
            number(flops / 1e9 if flops else None, 3),
            number(rate, 3),
            percent(rate / peak_tflops if rate and peak_tflops else None),
        ]


def kernel_table(work, ncu, peak_gbs):
    yield ["kernel", "launches", "device ms", "share", "mean µs", "DRAM GB/s", "of the limit", "tensor cores busy", "limit: memory", "limit: SM"]
    kernels = collections.defaultdict(list)
    for piece in work:
        kernels[piece.name].append((piece.end - piece.begin) / 1e6)
    for name, metrics in ncu.items():
        if name not in kernels:
            kernels[name] = [seconds * 1e3 for seconds in metrics.get("gpu__time_duration.sum", [])]
    total = sum(sum(times) for times in kernels.values()) or 1
    for name, times in sorted(kernels.items(), key=lambda kernel: -sum(kernel[1])):
        metrics = ncu.get(name, {})
        moved, seconds = metrics.get("dram__bytes.sum"), metrics.get("gpu__time_duration.sum")
        rate = sum(moved) / sum(seconds) / 1e9 if moved and seconds and sum(seconds) else None
        yield [
            name,
            str(len(times)),
            number(sum(times), 3),
            percent(sum(times) / total),
            number(1e3 * sum(times) / len(times) if times else None, 1),
            number(rate, 0),
            percent(rate / peak_gbs if rate and peak_gbs else None),
            mean_percent(metrics, "sm__inst_executed_pipe_tensor.avg.pct_of_peak_sustained_active"),
            mean_percent(metrics, "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed"),
            mean_percent(metrics, "sm__throughput.avg.pct_of_peak_sustained_elapsed"),
        ]


def mean_percent(metrics, name):
    return percent(statistics.mean(metrics[name]) / 100 if metrics.get(name) else None)


def write(table, as_csv):
    rows = list(table)
    if as_csv:
        csv.writer(sys.stdout, lineterminator="\n").writerows([cell.replace("\u00a0", " ") for cell in row] for row in rows)
    else:
        for index, row in enumerate(rows):
            print("| " + " | ".join(row) + " |")
            if index == 0:
                print("|" + "---|" * len(row))
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("profile", nargs="?")
    parser.add_argument("--run")
    parser.add_argument("--ncu")
    parser.add_argument("--peak-tflops", type=float)
    parser.add_argument("--peak-gbs", type=float)
    parser.add_argument("--csv", action="store_true")
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    sys.stdout.reconfigure(encoding="utf-8")
    try:
        ranges, work = read_profile(options.profile) if options.profile else ([], [])
        run = json.load(open(options.run, encoding="utf-8")) if options.run else None
        ncu = read_ncu(options.ncu) if options.ncu else {}
    except (OSError, ValueError, KeyError, sqlite3.Error, subprocess.CalledProcessError) as error:
        sys.exit(f"report.py: {error}")
    if not options.profile and not ncu:
        sys.exit("report.py: give a profile, or --ncu with kernels in it (--help)")
    if options.profile and not ranges:
        sys.exit(f"report.py: {options.profile} holds no ranges of '{DOMAIN}'")
    lines, places = nest(ranges)
    launch(places, work)
    if not options.all:
        lines = [line for line in lines if not line.path[-1].startswith("policy ") or statistics.median(line.times) >= NO_TIME]
    if lines:
        write(range_table(lines, run, options.peak_tflops, bool(work)), options.csv)
    if work or ncu:
        write(kernel_table(work, ncu, options.peak_gbs), options.csv)


if __name__ == "__main__":
    main()
