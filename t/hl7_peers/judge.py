# An HL7 receiver on a port that holds each message against HL7 2.5.1 as hl7apy knows
# it: structure, cardinality, data types.  A line of JSON a message on stdout,
# [MSH-9, error or null, {"PID-5-1": value, ..}], and AA or AE.

import json
import socketserver
import sys

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_message


def fields(message):
    """Each non-empty field, by segment (and its number, from the second on)."""
    out, seen = {}, {}
    for line in message.split("\r"):
        parts = line.split("|")
        name = parts[0]
        seen[name] = seen.get(name, 0) + 1
        label = name if seen[name] == 1 else f"{name}#{seen[name]}"
        first = 0 if name != "MSH" else 1
        for n, value in enumerate(parts[1:], 1 + first):
            if value:
                out[f"{label}-{n}"] = value
    return out


def segments(node):
    if node.classname == "Segment":
        return [node]
    return [s for child in node.children for s in segments(child)]


def validate(text):
    message = parse_message(text, validation_level=VALIDATION_LEVEL.STRICT,
                            find_groups=True)
    # hl7apy asks for all alternatives of ORM_O01's order detail at once
    for part in segments(message) if "|ORM^O01" in text else [message]:
        part.validate()


class Receiver(socketserver.StreamRequestHandler):
    def handle(self):
        buffer = b""
        while chunk := self.connection.recv(65536):
            buffer += chunk
            while b"\x1c\r" in buffer:
                frame, buffer = buffer.split(b"\x1c\r", 1)
                self.judge(frame.lstrip(b"\x0b").decode("utf-8"))

    def judge(self, text):
        error = None
        try:
            validate(text)
        except (HL7apyException, ValueError) as e:
            error = f"{type(e).__name__}: {e}"
        seen = fields(text)
        print(json.dumps([seen.get("MSH-9"), error, seen]), flush=True)
        ack = (f"MSH|^~\\&|HIS|X|IDASH|L|20260101000000||ACK|1|P|2.5.1\r"
               f"MSA|{'AE' if error else 'AA'}|{seen.get('MSH-10')}\r")
        self.connection.sendall(b"\x0b" + ack.encode() + b"\x1c\r")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


with Server(("127.0.0.1", int(sys.argv[1])), Receiver) as server:
    print('"up"', flush=True)
    server.serve_forever()
