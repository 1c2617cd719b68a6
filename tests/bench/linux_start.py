#!/usr/bin/env python3
"""Boot the same small Linux in Faultline, with 1, 2 and 4 vCPUs, and in QEMU (TCG, where KVM alone cannot run it).

A time is from the start of the program to the first line of the guest's init. Faults, pages and resident memory are read
right after it. Cases take turns, round by round.
"""
import argparse
import json
import os
import re
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
PATIENCE = 600  # seconds
FIRST_LINE = b"faultline init: running"


def resident(pid):
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        return int(re.search(r"Rss:\s+(\d+)", rollup.read()).group(1)) * 1024


def boot(command, look):
    """Seconds to init's first line, and what `look` finds in the process then."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        text = b""
        while FIRST_LINE not in text:
            ready, _, _ = select.select([process.stdout], [], [], max(0, began + PATIENCE - time.monotonic()))
            piece = os.read(process.stdout.fileno(), 65536) if ready else b""
            if not piece:
                sys.exit(f"{command[0]} never came to the guest's init; it said last: {text[-400:].decode(errors='replace')}")
            text += piece
        row = {"seconds": time.monotonic() - began}
        row["guest_seconds"] = float(re.findall(rb"\[ *(\d+\.\d+)\]", text)[-1])
        row["resident"] = resident(process.pid)
        row.update(look())
        return row
    finally:
        process.kill()
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faultline", required=True)
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--pvh-kernel", required=True, help="the same for QEMU, which takes an ELF file by its PVH note")
    parser.add_argument("--initrd", required=True)
    parser.add_argument("--memory", type=int, default=512, help="MiB of each guest")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json")
    options = parser.parse_args()

    def info():
        told = subprocess.run([options.faultline, "info", "start", "--json"], capture_output=True, check=True)
        faults = json.loads(told.stdout)["faults"]
        return {"faults": faults["faults"], "pages": faults["pages"]}

    guest = ["-kernel", options.pvh_kernel, "-initrd", options.initrd, "-append", "console=ttyS0 panic=-1 -- stay"]
    cases = {
        f"Faultline, {cpus} vCPU": (
            [options.faultline, "run", "--name", "start", "--memory", f"{options.memory}M", "--cpus", str(cpus), "--console",
             "stdio", "--kernel", options.kernel, "--initrd", options.initrd, "--append", "-- stay"], info)
        for cpus in (1, 2, 4)
    }
    if shutil.which("qemu-system-x86_64"):
        cases["QEMU, TCG, 1 vCPU"] = (["qemu-system-x86_64", "-M", "q35,accel=tcg", "-m", f"{options.memory}M", "-nodefaults",
                                       "-display", "none", "-no-reboot", "-serial", "stdio"] + guest, dict)
    results = {name: [] for name in cases}
    with tempfile.TemporaryDirectory() as place:
        os.environ["XDG_RUNTIME_DIR"] = place
        for _ in range(options.rounds):
            for name, (command, look) in cases.items():
                results[name].append(boot(command, look))

    print(f"  a guest of {options.memory} MiB, from exec to its init's first line; medians of {options.rounds}")
    print(f"  {'':20} {'seconds':>8} {'min':>7} {'max':>7} {'guest clock':>12} {'faults':>7} {'pages':>7} {'resident':>10}")
    for name, rows in results.items():
        middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        seconds = [row["seconds"] for row in rows]
        print(f"  {name:20} {middle['seconds']:8.1f} {min(seconds):7.1f} {max(seconds):7.1f}"
              f" {middle['guest_seconds']:12.1f} {int(middle['faults']) if 'faults' in middle else '-':>7}"
              f" {int(middle['pages']) if 'pages' in middle else '-':>7} {middle['resident'] / MIB:6.1f} MiB")
    if options.json:
        with open(options.json, "w") as out:
            json.dump(results, out, indent=1)


main()
