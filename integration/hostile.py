"""Prints what idle and hostile clients cost: those that work (50 callers, alone and beside 1,000 idle and 200 hostile
connections, in turns within one run), and in memory (what is kept after the attack, and for each of 10,000 idle connections).
`hostile.py <vtmigrated> [rounds]`; everything is on the loopback and ends after a few minutes. Fails when a call fails, when the
callers' median grows by 20 % or more, when more than 10 MB are kept, or a connection costs more than 40 kB.
"""

import asyncio
import os
import resource
import socket
import statistics
import subprocess
import sys
import time

CALLERS, IDLE, HOSTILE = 50, 1000, 200
BAR = 20
SECONDS = 8
KEPT_BAR, KEPT_PATIENCE = 10_000, 60
CONNECTIONS, CONNECTION_BAR = 10_000, 40
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
ACK = END_STREAM = 1
END_HEADERS = 4


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name, value):
    """A header that is in no table."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def head(rpc):
    headers = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/vtctlservice.Vtctld/" + rpc),
        (b":authority", b"bench"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
    return b"".join(literal(*header) for header in headers)


HEAD = head(b"GetKeyspaces")
EMPTY = bytes(5)


async def read_frame(reader):
    header = await reader.readexactly(9)
    payload = await reader.readexactly(int.from_bytes(header[:3], "big"))
    return header[3], header[4], int.from_bytes(header[5:9], "big"), payload


async def connect(port, settings=b""):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    writer.write(PREFACE + frame(SETTINGS, 0, 0, settings))
    return reader, writer


def courteous(writer, kind, flags, payload):
    """Answers what a client must answer."""
    if kind == SETTINGS and not flags & ACK:
        writer.write(frame(SETTINGS, ACK, 0))
    elif kind == PING and not flags & ACK:
        writer.write(frame(PING, ACK, 0, payload))


async def caller(port, until, times, failures):
    """Calls, waits a little, calls again."""
    reader, writer = await connect(port)
    writer.write(frame(WINDOW_UPDATE, 0, 0, (1 << 30).to_bytes(4, "big")))
    stream = 1
    while time.monotonic() < until:
        start = time.perf_counter()
        writer.write(frame(HEADERS, END_HEADERS, stream, HEAD) + frame(DATA, END_STREAM, stream, EMPTY))
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
    await asyncio.gather(*(caller(port, until, times, failures) for _ in range(CALLERS)))
    return times, failures


async def idle(port, lost):
    reader, writer = await connect(port)
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


def resident(pid):
    """In kB."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def kept(pid, before):
    """What is taken more than before, in kB, once it is little, or after a while."""
    until = time.monotonic() + KEPT_PATIENCE
    while resident(pid) - before > KEPT_BAR and time.monotonic() < until:
        time.sleep(1)
    return resident(pid) - before


def read_all(stream, count):
    while count:
        some = stream.recv(count)
        if not some:
            raise EOFError
        count -= len(some)


def silent(port):
    """A connection over which nobody calls."""
    stream = socket.create_connection(("127.0.0.1", port), timeout=30)
    stream.sendall(PREFACE + frame(SETTINGS, 0, 0))
    read_all(stream, 9)
    stream.sendall(frame(SETTINGS, ACK, 0))
    return stream


def of_each_connection(program):
    """Memory of an idle connection, in kB, and how many there were."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    port = free_port()
    command = [program, f"--grpc_port={port}", f"--grpc-max-connections={CONNECTIONS + 100}"]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        time.sleep(1)
        asyncio.run(callers(port, 2))
        before = resident(server.pid)
        streams = [silent(port) for _ in range(CONNECTIONS)]
        time.sleep(2)
        grown = resident(server.pid) - before
        # they are all still served
        for stream in (streams[0], streams[-1]):
            stream.sendall(frame(HEADERS, END_HEADERS, 1, HEAD) + frame(DATA, END_STREAM, 1, EMPTY))
            read_all(stream, 9)
        return grown / CONNECTIONS
    finally:
        server.terminate()
        server.wait()


def rounds_of(port, rounds):
    alone, beside, failures, told = [], [], [], ""
    for _ in range(rounds):
        for crowded in (False, True):
            others = None
            if crowded:
                command = [sys.executable, __file__, "--crowd", str(port)]
                others = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                others.stdout.readline()
            times, failed = asyncio.run(callers(port, SECONDS))
            failures += failed
            (beside if crowded else alone).append(statistics.median(times))
            if others:
                told = others.communicate()[0].strip()
            time.sleep(1)
    return alone, beside, failures, told


def main():
    program = sys.argv[1]
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    port = free_port()
    server = subprocess.Popen([program, f"--grpc_port={port}"], stderr=subprocess.DEVNULL)
    try:
        time.sleep(1)
        asyncio.run(callers(port, SECONDS))
        before = resident(server.pid)
        alone, beside, failures, told = rounds_of(port, rounds)
        after = kept(server.pid, before)
        if server.poll() is not None:
            sys.exit("the server has ended")
    finally:
        server.terminate()
        server.wait()
    growth = [100 * (b / a - 1) for a, b in zip(alone, beside)]
    median = statistics.median(growth)
    print(f"{CALLERS} callers alone:         median {statistics.median(alone) * 1e6:.0f} us of {rounds} rounds")
    print(f"beside {IDLE} idle, {HOSTILE} hostile: median {statistics.median(beside) * 1e6:.0f} us")
    print(f"growth: {median:+.1f} % (bar: {BAR} %; rounds: {', '.join(f'{g:+.0f}' for g in growth)})")
    print(f"calls that failed: {len(failures)} {failures[:3]}")
    print(told)
    print(f"resident after the attack: {after:+,} kB of {before:,} (bar: {KEPT_BAR:+,})")
    each = of_each_connection(program)
    print(f"an idle connection: {each:.1f} kB of {CONNECTIONS:,} (bar: {CONNECTION_BAR})")
    if failures or median >= BAR or after > KEPT_BAR or each > CONNECTION_BAR:
        sys.exit(1)


if sys.argv[1] == "--crowd":
    asyncio.run(crowd(int(sys.argv[2])))
else:
    main()
