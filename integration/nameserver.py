"""A name server for one name: `nameserver.py LISTEN NAME ADDRESS`; all others do not exist. It ends with its parent's signal."""

import ipaddress
import socket
import struct
import sys

TYPE_A = 1
NOT_FOUND = 3


def answer(query: bytes, name: str, address: str) -> bytes:
    """The answer to one question; no answer section for other types than A."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    kind = struct.unpack_from("!H", query, at + 1)[0]
    question = query[12 : at + 5]
    known = ".".join(labels).lower() == name
    records = b""
    if known and kind == TYPE_A:
        # the name is a pointer to the question's
        records = struct.pack("!HHHIH", 0xC00C, TYPE_A, 1, 5, 4) + ipaddress.ip_address(address).packed
    flags = 0x8580 | (0 if known else NOT_FOUND)
    return query[:2] + struct.pack("!HHHHH", flags, 1, 1 if records else 0, 0, 0) + question + records


def main() -> None:
    listen, name, address = sys.argv[1:]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((listen, 53))
        while True:
            query, client = server.recvfrom(512)
            server.sendto(answer(query, name, address), client)


main()
