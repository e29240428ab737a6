"""What `integration/bench` measures with: programs that end with it, the machine, tables in Markdown, and bars."""

import glob
import json
import os
import re
import select
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A phase could not be measured to its end."""


def stat():
    """Processor time of the machine, in ticks: all, idle, and taken away by the host."""
    with open("/proc/stat") as file:
        times = [int(text) for text in file.readline().split()[1:9]]
    return sum(times), times[3] + times[4], times[7]


def used(since, now=None):
    """Parts of the machine's processor time that were used and taken away, in percent."""
    total, idle, stolen = (after - before for before, after in zip(since, now or stat()))
    return 100 * (1 - (idle + stolen) / max(total, 1)), 100 * stolen / max(total, 1)


def resident(pid):
    """In bytes."""
    with open(f"/proc/{pid}/status") as status:
        return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def takes_calls(port):
    """Whether a server's HTTP/2 settings come."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as s:
            s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
            return len(s.recv(9)) > 0
    except OSError:
        return False


def table(head, lines):
    """The first column is of names, the others of numbers."""
    rule = "|---|" + "--:|" * (len(head) - 1)
    return "\n".join(["| " + " | ".join(head) + " |", rule] + ["| " + " | ".join(map(str, line)) + " |" for line in lines])


def cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def ratios(lines):
    """Of tables of integration-load: for each call, what it says of ours and of ours against stock, by column."""
    found, kind, head = {}, None, []
    for line in lines:
        if title := re.match(r"### (\w+)", line):
            kind, head = title[1], []
        elif kind and line.startswith("|"):
            row = cells(line)
            head = head or row
            found.setdefault(kind, {})[row[0]] = dict(zip(head, row))
    return {kind: (rows.get("ours", {}), rows.get("ours / stock", {})) for kind, rows in found.items()}


def number(text):
    """The first number of a cell; None of one that has none."""
    found = re.match(r"[-+]?[0-9.]+", text or "")
    return float(found[0]) if found else None


class Bench:
    """What is measured, with what, and where it is written to."""

    def __init__(self, args):
        self.args, self.missed = args, []
        self.server, self.tools, self.home = args.server, args.tools, args.integration
        self.out = open(args.out, "a", buffering=1, encoding="utf-8") if args.out else None

    def say(self, text=""):
        print(text, flush=True)
        if self.out:
            self.out.write(text + "\n")

    def tool(self, name):
        path = self.tools / f"integration-{name}"
        if not path.exists():
            raise Failed(f"{path} is missing: cargo build -p integration --bins, or --tools")
        return str(path)

    def version_of_stock(self):
        text = (ROOT / "integration/stock/go.mod").read_text()
        return re.search(r"vitess\.io/vitess (\S+)", text)[1]

    def stock(self):
        path = self.home / "stock" / self.version_of_stock() / "bin/vtctld"
        if not path.exists():
            raise Failed(f"{path} is missing: run integration/setup, or --integration")
        return path

    def start(self, command, quiet=False, errors=None, **more):
        """Starts a program that does not outlive this one, and of which nothing is read when it is `quiet`."""
        env = {**os.environ, "VTMIGRATED_BIN": str(self.server), "VTMIGRATED_INTEGRATION_DIR": str(self.home)}
        command = ["setpriv", "--pdeathsig", "KILL", "--", *map(str, command)]
        return subprocess.Popen(command, env={**env, **more}, encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL if quiet else subprocess.PIPE,
                                stderr=subprocess.DEVNULL if quiet else errors)

    def end(self, process, patience=20):
        """Ends a program, and what it would have removed."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        # its own programs die with it
        for _ in range(20):
            left = glob.glob(f"{self.home}/run/{process.pid}-*")
            for folder in left:
                shutil.rmtree(folder, ignore_errors=True)
            if not left:
                return
            time.sleep(0.1)

    def run(self, command, limit, shown=lambda line: True):
        """Runs a program for so many seconds at most and tells what it prints; answers that."""
        process, lines, late = self.start(command, errors=subprocess.STDOUT), [], threading.Event()

        def cut():
            late.set()
            process.kill()

        timer = threading.Timer(limit, cut)
        timer.start()
        try:
            for line in process.stdout:
                lines.append(line.rstrip("\n"))
                if shown(lines[-1]):
                    self.say(lines[-1])
            code = process.wait()
        finally:
            timer.cancel()
            self.end(process, patience=1)
        if late.is_set():
            raise Cut(lines, f"cut off after {limit} s")
        if code != 0:
            raise Cut(lines, f"ended with {code}: {lines[-1] if lines else Path(str(command[0])).name}")
        return lines

    def judge(self, what, text, held):
        self.say(f"- {what}: {text}: {'held' if held else 'MISSED'}")
        if not held:
            self.missed.append(what)

    def compare(self, run, bars):
        """Judges what a run of integration-load prints, as far as it came; answers that."""
        try:
            lines = run()
        except Cut as cut:
            self.against_stock(cut.lines, bars)
            raise
        self.against_stock(lines, bars)
        return lines

    def against_stock(self, lines, bars):
        """Judges ratios: for each call, columns with how they are to be (`<=` or `>=`) and to what."""
        self.say()
        found = ratios(lines)
        if not any(ratio for _, ratio in found.values()):
            self.missed.append("nothing was compared")
        for kind, (_, ratio) in found.items():
            size = number(ratio.get("KiB/call"))
            if size is not None and not 0.8 <= size <= 1.25:
                self.say(f"- {kind}: answers have {size:.2f} of the size of stock's, costs are not of the same")
            for column, how, bar in bars.get(kind, bars.get("*", [])):
                value = number(ratio.get(column))
                if value is None:
                    self.judge(f"{kind}, {column}", "nothing to compare", False)
                else:
                    held = value <= bar if how == "<=" else value >= bar
                    self.judge(f"{kind}, {column}", f"{ratio[column]} of stock's, wanted {how} {bar:.3g}", held)
        self.say()


class Cut(Failed):
    """A program did not come to its end; it has printed this."""

    def __init__(self, lines, why):
        super().__init__(why)
        self.lines = lines


class Farm:
    """A farm for as long as it is used."""

    def __init__(self, bench, *flags, limit=180):
        self.bench, self.flags, self.limit = bench, [str(flag) for flag in flags], limit

    def __enter__(self):
        begin = time.monotonic()
        self.process = self.bench.start([self.bench.tool("farm"), *self.flags])
        try:
            line = self.process.stdout.readline() if self.comes() else ""
            self.facts = json.loads(line or "null")
        except BaseException:
            self.bench.end(self.process)
            raise
        if not self.facts:
            self.bench.end(self.process)
            raise Failed(f"the farm does not come up within {self.limit} s")
        self.bench.say(f"Farm `{' '.join(self.flags)}`, up after {time.monotonic() - begin:.0f} s.\n")
        return self

    def comes(self):
        return bool(select.select([self.process.stdout], [], [], self.limit)[0])

    def __exit__(self, *_):
        self.bench.end(self.process)

    def load(self, *flags, limit=300, shown=lambda line: True):
        command = [self.bench.tool("load"), "--farm", self.facts["control"], *map(str, flags), *self.bench.args.load]
        return self.bench.run(command, limit, shown)


def machine(bench):
    """What stands before all figures."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[1]) >> 20
    version = subprocess.run([bench.server, "--version"], capture_output=True, text=True).stdout.strip()
    content = Path(bench.server).read_bytes()
    bench.say(f"- {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, {os.cpu_count()} × {model[1] if model else '?'}, "
              f"{memory} GiB, Linux {os.uname().release}")
    bench.say(f"- server: `{bench.server}`, {len(content):,} bytes, {version}")
    bench.say(f"- farm and load program: `{bench.tools}`; stock: vtctld {bench.version_of_stock()}")
    if b"FAILPOINTS" in content:
        bench.say("- NOT THE PRODUCT: the server was built with fail-points (build it by itself: cargo build --release -p vtmigrated)")
    if bench.tools.name == "debug" or bench.server.parent.name == "debug":
        bench.say("- programs of a folder `debug`: unless they were built with CARGO_PROFILE_DEV_OPT_LEVEL=1 or more, they take the"
                  " processors that throughput and times of both servers want, and these ratios come nearer to 1")
    bench.say()


def quiet(bench):
    """Says when others use the machine."""
    since = stat()
    time.sleep(2)
    busy, stolen = used(since)
    if busy + stolen > 10:
        bench.say(f"- NOT QUIET: before this, others used {busy:.0f} % of the processors, and the host took {stolen:.0f} %\n")


def median(values, digits=1):
    return f"{statistics.median(values):.{digits}f}"


def die(text):
    print(text, file=sys.stderr)
    sys.exit(2)
