"""Prints, in Markdown, what idle and hostile clients cost: those that work (50 callers: alone, beside 1,000 idle and 200 hostile
connections to another server, and beside as many to theirs, in turns within one run), and in memory (before, during and after the
attack, and for each of 10,000 idle connections).

`hostile.py <vtmigrated> [--rounds N] [attack] [idle]`; both unless one is named. Everything is on the loopback and ends after a few
minutes. Hostile clients take processors from callers wherever they call, for all are on this machine: what the server itself is
to answer for is the difference between the second and the third. Fails when a call fails, when the callers' median beside the attack
is 20 % or more above the one alone, when more than 10 MB are kept, or a connection costs more than 40 kB.
"""

import argparse
import asyncio
import os
import resource
import socket
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True
from http2 import (  # noqa: E402
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    apart,
    connect,
    courteous,
    frame,
    head,
    literal,
    read_frame,
)

CALLERS, IDLE, HOSTILE = 50, 1000, 200
BAR = 20
SECONDS = 8
KEPT_BAR, KEPT_PATIENCE = 10_000, 60
CONNECTIONS, CONNECTION_BAR, AT_ONCE = 10_000, 40, 100
# freed memory goes back to the system after 10 s, and connections that say nothing are pinged after as long
SETTLING = 15
HEAD = head(b"GetKeyspaces")
EMPTY = bytes(5)


async def caller(port, number, until, times, failures):
    """Calls, waits a little, calls again."""
    message = apart(number)
    try:
        reader, writer = await connect(port)
    except OSError as error:
        failures.append(repr(error))
        return
    writer.write(frame(WINDOW_UPDATE, 0, 0, (1 << 30).to_bytes(4, "big")))
    stream = 1
    while time.monotonic() < until:
        start = time.perf_counter()
        writer.write(frame(HEADERS, END_HEADERS, stream, HEAD) + frame(DATA, END_STREAM, stream, message))
        answered = False
        try:
            while True:
                kind, flags, of, payload = await asyncio.wait_for(read_frame(reader), 30)
                courteous(writer, kind, flags, payload)
                # an error has no DATA
                answered |= kind == DATA and of == stream
                if of == stream and (kind == RST_STREAM or flags & END_STREAM and kind in (DATA, HEADERS)):
                    break
        except (OSError, EOFError, TimeoutError) as error:
            failures.append(repr(error))
            return
        if answered:
            times.append(time.perf_counter() - start)
        else:
            failures.append("an error was answered")
        stream += 2
        await asyncio.sleep(0.04)
    writer.close()


async def callers(port, seconds):
    times, failures = [], []
    until = time.monotonic() + seconds
    await asyncio.gather(*(caller(port, number, until, times, failures) for number in range(CALLERS)))
    return times, failures


async def idle(port, lost):
    await stay(*await connect(port), lost)


async def stay(reader, writer, lost):
    """Answers what must be answered, and nothing else."""
    try:
        while True:
            kind, flags, _, payload = await read_frame(reader)
            courteous(writer, kind, flags, payload)
    except (OSError, EOFError):
        lost.append(1)


# What hostile clients do: each yields what it sends next, at a pace that this machine can stand.


def half_open():
    yield PREFACE[:10]
    while True:
        yield b""


def endless_headers():
    yield PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, 0, 1, HEAD)
    while True:
        yield frame(CONTINUATION, 0, 1, literal(b"a", b"x" * 100)) * 4


def resets():
    yield PREFACE + frame(SETTINGS, 0, 0)
    stream = 1
    while True:
        some = b""
        for _ in range(20):
            some += frame(HEADERS, END_HEADERS, stream, HEAD) + frame(RST_STREAM, 0, stream, (8).to_bytes(4, "big"))
            stream += 2
        yield some


def pings():
    yield PREFACE + frame(SETTINGS, 0, 0)
    while True:
        yield frame(PING, 0, 0, bytes(8)) * 40


def unfinished():
    """As many calls as a connection may have, a byte of each message at a time."""
    yield PREFACE + frame(SETTINGS, 0, 0)
    yield b"".join(frame(HEADERS, END_HEADERS, stream, HEAD) for stream in range(1, 500, 2))
    while True:
        for stream in range(1, 500, 2):
            yield frame(DATA, 0, stream, b"\0") if stream % 50 == 1 else b""


def unread():
    """Calls whose answers have no room to be sent in."""
    yield PREFACE + frame(SETTINGS, 0, 0, (4).to_bytes(2, "big") + bytes(4))
    yield b"".join(
        frame(HEADERS, END_HEADERS, stream, HEAD) + frame(DATA, END_STREAM, stream, EMPTY) for stream in range(1, 500, 2)
    )
    while True:
        yield b""


KINDS = [half_open, endless_headers, resets, pings, unfinished, unread]


async def hostile(port, kind, counts):
    """Comes back a second after it was hung up on."""
    while True:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            counts[kind.__name__] = counts.get(kind.__name__, 0) + 1
            gone = asyncio.ensure_future(drain(reader))
            for some in kind():
                writer.write(some)
                if kind is not unread:
                    await writer.drain()
                done, _ = await asyncio.wait([gone], timeout=0.1)
                if done:
                    break
            writer.close()
        except OSError:
            pass
        await asyncio.sleep(1)


async def drain(reader):
    try:
        while await reader.read(1 << 16):
            pass
    except OSError:
        pass


async def crowd(port):
    """The idle and the hostile, in a process of their own; tells when all are there, and at the end what they saw."""
    lost, counts = [], {}
    tasks = [asyncio.ensure_future(idle(port, lost)) for _ in range(IDLE)]
    tasks += [asyncio.ensure_future(hostile(port, KINDS[at % len(KINDS)], counts)) for at in range(HOSTILE)]
    await asyncio.sleep(3)
    print("there", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    print(f"{len(lost)} idle connections lost; hostile connections opened: {counts}", flush=True)
    os._exit(0)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def memory(pid, name="VmRSS:"):
    """In kB."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))


def forget_peak(pid):
    """From now on VmHWM is about what comes."""
    with open(f"/proc/{pid}/clear_refs", "w") as file:
        file.write("5")


def sockets(pid):
    count = 0
    for file in os.listdir(f"/proc/{pid}/fd"):
        try:
            count += os.readlink(f"/proc/{pid}/fd/{file}").startswith("socket:")
        except OSError:
            pass
    return count


def kept(pid, before):
    """What is taken more than before, in kB, once it is little, or after a while, and the seconds until then."""
    start = time.monotonic()
    while memory(pid) - before > KEPT_BAR and time.monotonic() - start < KEPT_PATIENCE:
        time.sleep(1)
    return memory(pid) - before, time.monotonic() - start


class Server:
    """A server without a topology, for as long as it is used."""

    def __init__(self, program, *flags):
        self.port = free_port()
        command = [program, f"--grpc_port={self.port}", *flags]
        # it does not outlive this process, however that ends
        command = ["setpriv", "--pdeathsig", "KILL", "--", *command]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        self.pid = self.process.pid

    def __enter__(self):
        until = time.monotonic() + 20
        while time.monotonic() < until and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                time.sleep(0.01)
        self.__exit__()
        sys.exit("the server does not come up")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


# Where the others are, if there are any.
ALONE, ELSEWHERE, BESIDE = "alone", "elsewhere", "beside"
PLACES = [ALONE, ELSEWHERE, BESIDE]


def beside_others(place, port, other):
    """Times and failures of the callers, and what the crowd saw at the same server."""
    crowd = None
    if place != ALONE:
        command = ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, __file__, "--crowd"]
        command.append(str(port if place == BESIDE else other))
        crowd = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not crowd.stdout.readline():
            sys.exit("the hostile clients ended by themselves")
    try:
        times, failures = asyncio.run(callers(port, SECONDS))
    finally:
        told = crowd.communicate()[0].strip() if crowd else ""
    time.sleep(1)
    return times, failures, told


def percent(ratios):
    ratios = [100 * (ratio - 1) for ratio in ratios]
    return f"{statistics.median(ratios):+.1f} % [{min(ratios):+.1f}–{max(ratios):+.1f}]"


def attack(program, rounds):
    """True when the bars are held."""
    medians, slow = {place: [] for place in PLACES}, {place: [] for place in PLACES}
    failures, calls, told = [], 0, ""
    with Server(program) as server, Server(program) as other:
        asyncio.run(callers(server.port, SECONDS))
        time.sleep(SETTLING)
        before = memory(server.pid)
        forget_peak(server.pid)
        for number in range(rounds):
            first = number % len(PLACES)
            for place in PLACES[first:] + PLACES[:first]:
                times, failed, seen = beside_others(place, server.port, other.port)
                failures += failed
                calls += len(times) + len(failed)
                if not times:
                    sys.exit(f"no call was answered: {failed[:3]}")
                medians[place].append(statistics.median(times))
                slow[place].append(statistics.quantiles(times, n=100)[98] if len(times) > 1 else times[0])
                told = seen if place == BESIDE else told
        most = memory(server.pid, "VmHWM:")
        after, waited = kept(server.pid, before)
        if server.process.poll() is not None:
            sys.exit("the server has ended")
    against = {place: [a / b for a, b in zip(medians[place], medians[ALONE])] for place in PLACES}
    print(f"### {CALLERS} callers beside {IDLE:,} idle and {HOSTILE} hostile connections, {rounds} rounds\n")
    print("| hostile | median µs | p99 µs | median against alone | against those elsewhere |\n|---|--:|--:|--:|--:|")
    names = {ALONE: "none", ELSEWHERE: "to another server", BESIDE: "to the same server"}
    for place in PLACES:
        line = [names[place]] + [f"{1e6 * statistics.median(of[place]):.0f}" for of in (medians, slow)]
        line.append("" if place == ALONE else percent(against[place]))
        line.append("" if place != BESIDE else percent([a / b for a, b in zip(medians[place], medians[ELSEWHERE])]))
        print("| " + " | ".join(line) + " |")
    growth = 100 * (statistics.median(against[BESIDE]) - 1)
    held = growth < BAR and not failures and after <= KEPT_BAR
    print(f"\n- growth of the median {growth:+.1f} % (bar: {BAR} %); calls that failed: {len(failures)} of {calls:,} {failures[:3]}")
    print(f"- {told}")
    print(
        f"- resident: {before / 1000:.1f} MB before, {most / 1000:.1f} MB at most during the attack, {after / 1000:+.1f} MB"
        f" {waited:.0f} s after its end (bar: {KEPT_BAR / 1000:+.0f} MB within {KEPT_PATIENCE} s)\n",
        flush=True,
    )
    return held


async def hold(server):
    """Opens connections and keeps them while it looks: memory with them, sockets of the server, and how many it has lost."""
    lost, tasks = [], []
    for _ in range(0, CONNECTIONS, AT_ONCE):
        made = await asyncio.gather(*(connect(server.port) for _ in range(AT_ONCE)))
        tasks += [asyncio.ensure_future(stay(*each, lost)) for each in made]
    await asyncio.sleep(SETTLING)
    taken, there = memory(server.pid), sockets(server.pid)
    times, failures = await callers(server.port, 1)
    return taken, there, len(lost), len(times), failures


def idle_connections(program):
    """True when the bar is held."""
    with Server(program, f"--grpc-max-connections={CONNECTIONS + 100}") as server:
        asyncio.run(callers(server.port, 2))
        time.sleep(SETTLING)
        before = memory(server.pid)
        taken, there, lost, answered, failures = asyncio.run(hold(server))
    each = (taken - before) / CONNECTIONS
    held = each <= CONNECTION_BAR and not lost and there >= CONNECTIONS and answered and not failures
    print(f"### {CONNECTIONS:,} idle connections, without TLS\n")
    print("| kB each | MB before | MB with them | sockets | lost | calls answered beside | failed |\n|--:|--:|--:|--:|--:|--:|--:|")
    print(f"| {each:.1f} | {before / 1000:.1f} | {taken / 1000:.1f} | {there:,} | {lost} | {answered} | {len(failures)} |")
    print(f"\n- bar: {CONNECTION_BAR} kB for each\n", flush=True)
    return held


def main():
    flags = argparse.ArgumentParser(description="What idle and hostile clients cost.")
    flags.add_argument("program")
    flags.add_argument("parts", nargs="*", help="attack, idle; both unless one is named")
    flags.add_argument("--rounds", type=int, default=5)
    args = flags.parse_intermixed_args()
    parts = args.parts or ["attack", "idle"]
    if unknown := set(parts) - {"attack", "idle"}:
        flags.error(f"neither attack nor idle: {', '.join(unknown)}")
    held = True
    if "attack" in parts:
        held &= attack(args.program, args.rounds)
    if "idle" in parts:
        held &= bool(idle_connections(args.program))
    sys.exit(0 if held else 1)


soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
if sys.argv[1:2] == ["--crowd"]:
    asyncio.run(crowd(int(sys.argv[2])))
else:
    if hard < CONNECTIONS + 500:
        sys.exit(f"this process may open {hard} files only, {CONNECTIONS + 500} are needed")
    main()
