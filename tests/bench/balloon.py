#!/usr/bin/env python3
"""Inflate and empty the balloon of the same Linux guest in Faultline and in QEMU (TCG, where KVM alone cannot run it).

The guest first fills some memory and lets go of it. Times are from the request to the guest's word that it followed; the
calls to the host are those that give memory back: Faultline's own count, and for QEMU what strace sees in a second round,
which is not timed.
"""
import argparse
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
PATIENCE = 1800  # seconds; an interpreted guest is slow


class Guest:
    """A VM with the guest's console on its standard output and a QMP socket."""

    def __init__(self, command, socket_path):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.text = b""
        try:
            self.wait_for("shell: ready")
            self.connection = socket.socket(socket.AF_UNIX)
            self.connection.connect(socket_path)
            self.lines = self.connection.makefile("rw")
            self.lines.readline()
            self.execute("qmp_capabilities")
        except BaseException:
            self.end()
            raise

    def wait_for(self, what):
        deadline = time.monotonic() + PATIENCE
        while what.encode() not in self.text:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not piece:
                sys.exit(f"the guest never said '{what}'; it said last: {self.text[-400:].decode(errors='replace')}")
            self.text += piece
        self.text = self.text.split(what.encode(), 1)[1]

    def say(self, line):
        self.process.stdin.write(line.encode() + b"\r")
        self.process.stdin.flush()

    def execute(self, command, **arguments):
        self.lines.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.lines.flush()
        while True:
            answer = json.loads(self.lines.readline())
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                sys.exit(f"{command}: {answer['error']['desc']}")

    def balloon(self, kept):
        """Seconds until the guest has followed."""
        began = time.monotonic()
        self.execute("balloon", value=kept)
        while self.execute("query-balloon")["actual"] != kept:
            if time.monotonic() - began > PATIENCE:
                sys.exit("the guest's balloon does not follow")
            # What the guest prints has to go somewhere.
            if select.select([self.process.stdout], [], [], 0.02)[0]:
                os.read(self.process.stdout.fileno(), 65536)
        return time.monotonic() - began

    def resident(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) * 1024

    def end(self):
        self.process.kill()
        self.process.wait()


def counted_by_strace(guest, action):
    with tempfile.NamedTemporaryFile("r") as out:
        strace = subprocess.Popen(["strace", "-f", "-e", "trace=madvise,fallocate", "-o", out.name, "-p",
                                   str(guest.process.pid)], stderr=subprocess.PIPE)
        strace.stderr.readline()  # attached
        action()
        strace.send_signal(signal.SIGINT)
        strace.wait()
        return sum(1 for line in out if re.search(r"madvise\(.*MADV_(DONTNEED|REMOVE)|fallocate\(", line))


def measure(guest, options):
    whole, kept = options.memory * MIB, options.keep * MIB
    guest.say(f"touch={options.touch}")
    guest.wait_for("shell: ready")
    row = {"resident_before": guest.resident()}
    row["inflate_s"] = guest.balloon(kept)
    row["resident_inflated"] = guest.resident()
    return row, whole, kept


def per_gib(calls, size):
    return round(calls * 1024 * MIB / size)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faultline", required=True)
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--initrd", required=True)
    parser.add_argument("--memory", type=int, default=512, help="MiB of each guest")
    parser.add_argument("--keep", type=int, default=64, help="MiB that it keeps")
    parser.add_argument("--touch", type=int, default=32, help="MiB that it fills before")
    parser.add_argument("--json")
    options = parser.parse_args()
    given_up = (options.memory - options.keep) * MIB
    results = {}

    with tempfile.TemporaryDirectory() as place:
        os.environ["XDG_RUNTIME_DIR"] = place
        guest = Guest([options.faultline, "run", "--name", "bench", "--memory", f"{options.memory}M", "--kernel",
                       options.kernel, "--initrd", options.initrd, "--append", "-- shell", "--balloon",
                       "reporting=off"], f"{place}/faultline/bench.sock")
        try:
            row, whole, kept = measure(guest, options)
            devices = guest.execute("x-faultline-memory-devices")
            row["calls_per_gib"] = per_gib(devices[-1]["host-calls"], given_up)
            row["deflate_s"] = guest.balloon(whole)
        finally:
            guest.end()
        results["Faultline"] = row

        if shutil.which("qemu-system-x86_64"):
            monitor = f"{place}/qemu.sock"
            guest = Guest(["qemu-system-x86_64", "-M", "q35,accel=tcg", "-m", f"{options.memory}M", "-nodefaults",
                           "-display", "none", "-no-reboot", "-kernel", options.kernel, "-initrd", options.initrd,
                           "-append", "console=ttyS0 panic=-1 -- shell", "-serial", "stdio", "-device",
                           "virtio-balloon-pci", "-qmp", f"unix:{monitor},server=on,wait=off"], monitor)
            try:
                row, whole, kept = measure(guest, options)
                row["deflate_s"] = guest.balloon(whole)
                if shutil.which("strace"):
                    calls = counted_by_strace(guest, lambda: guest.balloon(kept))
                    row["calls_per_gib"] = per_gib(calls, given_up)
            finally:
                guest.end()
            results["QEMU, TCG"] = row

    print(f"  a guest of {options.memory} MiB gives up {options.memory - options.keep} MiB and takes them back")
    print(f"  {'':12} {'inflate':>9} {'deflate':>9} {'resident before, after':>26} {'calls per GiB':>14}")
    for name, row in results.items():
        resident = f"{row['resident_before'] // MIB}, {row['resident_inflated'] // MIB} MiB"
        print(f"  {name:12} {row['inflate_s']:7.1f} s {row['deflate_s']:7.1f} s {resident:>26}"
              f" {row.get('calls_per_gib', '-'):>14}")
    if options.json:
        with open(options.json, "w") as out:
            json.dump(results, out, indent=1)


main()
