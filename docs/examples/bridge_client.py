#!/usr/bin/env python3
"""A client of BAT OS's ZeroMQ bridge. Needs pyzmq and msgpack (Debian:
python3-zmq, python3-msgpack).

    batos new counter --slots '{"count": 3}'
    python3 docs/examples/bridge_client.py live_image counter increment_by 4

BATOS_ZMQ is the bridge's address, as for batos up.
"""
import itertools
import json
import os
import pathlib
import sys

import msgpack
import zmq


class Bridge:
    """One connection. Requests may be under way side by side: `post` many, then `read` the answers, told apart by "ref"."""

    def __init__(self, token, address="tcp://127.0.0.1:5555", server_key=None):
        self.socket = zmq.Context.instance().socket(zmq.DEALER)
        self.socket.linger = 0
        if server_key:  # batos up --zmq-curve prints it
            public, secret = zmq.curve_keypair()
            self.socket.curve_publickey, self.socket.curve_secretkey = public, secret
            self.socket.curve_serverkey = server_key.encode()
        self.socket.connect(address)
        self.token, self.refs = token, itertools.count(1)

    def post(self, command, **fields):
        ref = next(self.refs)
        self.socket.send(msgpack.packb({"command": command, "token": self.token, "ref": ref, **fields}))
        return ref

    def read(self, timeout=60):
        if not self.socket.poll(timeout * 1000):
            raise TimeoutError("the bridge did not answer")
        return msgpack.unpackb(self.socket.recv(), ext_hook=extension)

    def ask(self, command, **fields):
        ref = self.post(command, **fields)
        while True:
            answer = self.read()
            if answer.get("ref") == ref:  # what else comes are events
                return answer

    def send(self, target, selector, *args, **kwargs):
        answer = self.ask("send", target=target, selector=selector, args=list(args), kwargs=kwargs)
        if not answer["ok"]:
            raise RuntimeError("%(code)s: %(message)s" % answer["error"])
        return answer.get("value")


def extension(code, data):
    """What MessagePack has no type for; docs/bridge.md lists the codes."""
    if code == 4:
        return {"$ref": hex(int.from_bytes(data, "big"))}
    if code in (2, 3):
        return msgpack.unpackb(data, ext_hook=extension)
    return msgpack.ExtType(code, data)


def argument(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: bridge_client.py IMAGE TARGET SELECTOR [ARG…]")
    token = pathlib.Path(sys.argv[1], "token").read_text().strip()
    bridge = Bridge(token, os.environ.get("BATOS_ZMQ", "tcp://127.0.0.1:5555"))
    print(json.dumps(bridge.send(sys.argv[2], sys.argv[3], *map(argument, sys.argv[4:]))))
