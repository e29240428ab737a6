"""As much of HTTP/2 and gRPC as `hostile.py` speaks: frames made and read by hand, so that they can be wrong ones."""

import asyncio
import socket

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


def apart(number):
    """A message of one caller alone: with a field that no server knows (1000), so that he shares no read with others."""
    message = b"\xc0\x3e" + bytes([number])
    return b"\0" + len(message).to_bytes(4, "big") + message


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
