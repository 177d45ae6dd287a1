"""What report.py makes of a profile with kernels, which a machine without a GPU cannot record: tables as Nsight writes them, made by hand."""

import csv
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
MILLISECOND = 1_000_000
THREAD = 281474976710657


class ReportTests(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def report(self, *arguments, code=0):
        done = subprocess.run([sys.executable, os.path.join(HERE, "report.py"), *arguments], capture_output=True, text=True, encoding="utf-8")
        self.assertEqual(done.returncode, code, done.stderr)
        tables = [[]]
        for row in csv.reader(done.stdout.splitlines()):
            tables[-1].append(row) if row else tables.append([])
        return [table for table in tables if table], done.stderr

    def sqlite(self, device=True):
        path = self.path("profile.sqlite")
        base = sqlite3.connect(path)
        base.execute("CREATE TABLE StringIds (id INTEGER, value TEXT)")
        base.execute(
            "CREATE TABLE NVTX_EVENTS (start INTEGER, end INTEGER, eventType INTEGER, text TEXT, textId INTEGER, "
            "globalTid INTEGER, domainId INTEGER, int64Value INTEGER, uint64Value INTEGER)"
        )
        base.executemany("INSERT INTO StringIds VALUES (?, ?)", [(1, "prefill"), (2, "layer 0 paths"), (3, "layer 1 fuse"), (4, "matmul"), (5, "fuse_paths")])
        base.execute("INSERT INTO NVTX_EVENTS VALUES (0, NULL, 75, 'ParVts', NULL, ?, 7, NULL, NULL)", (THREAD,))
        base.execute("INSERT INTO NVTX_EVENTS VALUES (0, ?, 59, 'another library', NULL, ?, 8, 1, NULL)", (90 * MILLISECOND, THREAD))
        for start, end, text, rows in [(10, 40, 1, 640), (11, 20, 2, 700), (20, 30, 3, 128), (50, 80, 1, 640), (51, 60, 2, 700), (60, 74, 3, 128)]:
            base.execute(
                "INSERT INTO NVTX_EVENTS VALUES (?, ?, 59, NULL, ?, ?, 7, ?, NULL)", (start * MILLISECOND, end * MILLISECOND, text, THREAD, rows)
            )
        if device:
            base.execute("CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER, end INTEGER, correlationId INTEGER, shortName INTEGER)")
            base.execute("CREATE TABLE CUPTI_ACTIVITY_KIND_RUNTIME (start INTEGER, globalTid INTEGER, correlationId INTEGER)")

            # Launched at once, run later: a kernel belongs to the range that launched it. The last one belongs to none.
            for number, (launched, start, lasts, name) in enumerate([(12, 30, 4, 4), (21, 34, 1, 5), (22, 35, 5, 4), (52, 70, 4, 4), (95, 96, 1, 4)]):
                base.execute("INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME VALUES (?, ?, ?)", (launched * MILLISECOND, THREAD, number))
                base.execute(
                    "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (?, ?, ?, ?)", (start * MILLISECOND, (start + lasts) * MILLISECOND, number, name)
                )
        base.commit()
        base.close()
        return path

    def run_json(self, device="cuda:0"):
        path = self.path("run.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"device": device, "trace": {"flops_by_layer": [4_000_000_000, 3_000_000_000]}}, file)
        return path

    def test_kernels_count_for_the_ranges_that_launched_them(self):
        (ranges, kernels), _ = self.report(self.sqlite(), "--run", self.run_json(), "--peak-tflops", "2", "--csv")
        self.assertEqual(
            ranges[1:],
            [
                ["prefill", "2", "640", "30.000", "7.000", "7.000", "1.000", "50 %"],
                ["  layer 0 paths", "2", "700", "9.000", "4.000", "4.000", "1.000", "50 %"],
                ["  layer 1 fuse", "2", "128", "12.000", "3.000", "3.000", "1.000", "50 %"],
            ],
        )
        self.assertEqual([row[:5] for row in kernels[1:]], [["matmul", "4", "14.000", "93 %", "3500.0"], ["fuse_paths", "1", "1.000", "7 %", "1000.0"]])

    def test_what_is_not_known_is_not_guessed(self):
        (ranges, kernels), _ = self.report(self.sqlite(), "--csv")
        self.assertEqual(ranges[2], ["  layer 0 paths", "2", "700", "9.000", "4.000", "-", "-", "-"])
        self.assertEqual(kernels[1][5:], ["-"] * 5)

    def test_on_the_cpu_the_host_is_what_computes(self):
        (ranges,), _ = self.report(self.sqlite(device=False), "--run", self.run_json("cpu"), "--csv")
        self.assertEqual(ranges[2], ["  layer 0 paths", "2", "700", "9.000", "-", "4.000", "0.444", "-"])

    def test_queueing_is_not_computing(self):
        profile = self.sqlite(device=False)
        for device in ("sim", "cuda:0"):
            (ranges,), _ = self.report(profile, "--run", self.run_json(device), "--csv")
            self.assertEqual(ranges[2], ["  layer 0 paths", "2", "700", "9.000", "-", "4.000", "-", "-"])

    def test_counters_are_set_against_the_limit(self):
        path = self.path("kernels.csv")
        names = ["ID", "Kernel Name", "dram__bytes.sum", "gpu__time_duration.sum", "sm__throughput.avg.pct_of_peak_sustained_elapsed"]
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write("==PROF== Connected to process 1\n")
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows(
                [names, ["", "", "Mbyte", "usecond", "%"], ["0", "matmul(Params)", "1,200.5", "500", "30"], ["1", "matmul(Params)", "1,199.5", "500", "50"]]
            )
        (_, kernels), _ = self.report(self.sqlite(device=False), "--ncu", path, "--peak-gbs", "4800", "--csv")
        (alone,), _ = self.report("--ncu", path, "--peak-gbs", "4800", "--csv")
        self.assertEqual(alone, kernels)
        self.assertEqual(kernels[1], ["matmul", "2", "1.000", "100 %", "500.0", "2400", "50 %", "-", "-", "40 %"])

    def test_the_runners_own_file(self):
        path = self.path("trace.json")
        events = [
            {"name": "process_name", "ph": "M", "pid": 1, "tid": 0, "args": {"name": "parvts"}},
            {"name": "decode", "ph": "X", "ts": 10, "dur": 5, "pid": 1, "tid": 1, "args": {"rows": 63}},
            {"name": "layer 0", "ph": "X", "ts": 11, "dur": 2, "pid": 1, "tid": 1, "args": {"rows": 1}},
            {"name": "decode", "ph": "X", "ts": 20, "dur": 7, "pid": 1, "tid": 1, "args": {"rows": 64}},
            {"name": "policy 3", "ph": "X", "ts": 40, "dur": 49, "pid": 1, "tid": 1, "args": {"rows": 64}},
            {"name": "policy 4", "ph": "X", "ts": 140, "dur": 50, "pid": 1, "tid": 1, "args": {"rows": 64}},
        ]
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"traceEvents": events}, file)
        (ranges,), _ = self.report(path, "--csv")
        self.assertEqual([row[:4] for row in ranges[1:]], [["decode", "2", "63 to 64", "0.006"], ["  layer 0", "1", "1", "0.002"], ["policy 4", "1", "64", "0.050"]])
        (everything,), _ = self.report(path, "--csv", "--all")
        self.assertEqual([row[0] for row in everything[1:]], ["decode", "  layer 0", "policy 3", "policy 4"])

    def test_a_profile_without_ranges_is_an_error(self):
        path = self.path("empty.sqlite")
        sqlite3.connect(path).close()
        _, message = self.report(path, code=1)
        self.assertIn("holds no ranges", message)


if __name__ == "__main__":
    unittest.main()
