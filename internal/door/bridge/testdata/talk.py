"""A conversation by libzmq's own client, in asserts."""
import pathlib, sys, time
import msgpack, zmq

address, token, server_key = sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None
context = zmq.Context()


def connect(kind, key=server_key, identity=None):
    s = context.socket(kind)
    s.linger = 0
    s.rcvtimeo = 20000
    s.heartbeat_ivl = 200  # PING goes out even while nothing is said
    s.heartbeat_timeout = 60000  # else a busy machine ends the connection, and what was said on it is lost
    if identity:
        s.identity = identity
    if key:
        s.curve_publickey, s.curve_secretkey = zmq.curve_keypair()
        s.curve_serverkey = key.encode()
    s.connect(address)
    return s


def ask(s, **m):
    s.send(msgpack.packb(m))
    return msgpack.unpackb(s.recv())


# A REQ socket wraps its payload; a DEALER need not.
req = connect(zmq.REQ)
a = ask(req, command="send", token=token, target="counter", selector="add", args=[4], id="talk-1", ref={"any": ["thing"]})
assert a == {"ok": True, "id": "talk-1", "state": "done", "value": 7, "ref": {"any": ["thing"]}}, a
a = ask(req, command="send", token=token, target="counter", selector="add", args=[4], id="talk-1")
assert a["value"] == 7, ("an id is carried out once", a)
a = ask(req, command="outcome", id="talk-1", wait=5)
assert a["value"] == 7, a

# Without a token nothing is said; a wrong one is refused; the connection lives.
dealer = connect(zmq.DEALER)
a = ask(dealer, command="status")
assert a["error"]["code"] == "denied", a
a = ask(dealer, command="status", token="x" * 64, ref=1)
assert a["error"]["code"] == "denied" and a["ref"] == 1, a
a = ask(dealer, command="status", token=token)
assert a["ok"], a

# Errors are answers.
for m, code in [
    (dict(command="send", target="nobody", selector="x"), "not_found"),
    (dict(command="send", target="counter", selector="add", args=[1, 2]), "arity"),
    (dict(command="send", target="counter", selector="grow_by", args=[1]), "offline"),
    (dict(command="send", target="counter", selector="boom"), "raised"),
    (dict(command="send", target="counter", selector="add", argz=[1]), "invalid"),
    (dict(command="initiate_cognitive_cycle", target_oid="counter", mission_brief={"type": "x"}), "invalid"),
    (dict(command="dance"), "invalid"),
    (dict(), "invalid"),
]:
    a = ask(dealer, ref=code, **m)
    assert not a["ok"] and a["error"]["code"] == code and a["ref"] == code and "\n" not in a["error"]["message"], (m, a)
for raw in [b"", b"\xc1", b"\x93\x01", b"hello", msgpack.packb([1])]:
    dealer.send(raw)
    a = msgpack.unpackb(dealer.recv())
    assert a["error"]["code"] == "invalid", (raw, a)
dealer.send_multipart([b"one", b"two"])
assert msgpack.unpackb(dealer.recv())["error"]["code"] == "invalid"

# The blueprint's own command; the caller is told at once, and later.
a = ask(dealer, command="initiate_cognitive_cycle", target_oid="counter", mission_brief={"type": "unhandled_message", "selector": "add", "args": [1], "kwargs": {}}, wait=10)
assert a["ok"] and a["value"] == 8, a

# Order: one client's messages to one object run as they were sent.
for i in range(50):
    dealer.send(msgpack.packb({"command": "send", "target": "counter", "selector": "note", "args": [i]}))
for i in range(50):
    assert msgpack.unpackb(dealer.recv())["ok"]
a = ask(dealer, command="send", target="counter", selector="notes")
assert a["value"] == list(range(50)), a

# A client that comes back under its name takes its old place.
named = connect(zmq.DEALER, identity=b"me")
assert ask(named, command="status", token=token)["ok"]
again = connect(zmq.DEALER, identity=b"me")
assert ask(again, command="status", token=token)["ok"]

# A large argument goes through in one piece.
a = ask(dealer, command="send", target="counter", selector="size", args=["x" * 3000000])
assert a["value"] == 3000000, a

if server_key:
    wrong = connect(zmq.DEALER, key="rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7")
    wrong.rcvtimeo = 500
    wrong.send(msgpack.packb({"command": "status", "token": token}))
    try:
        wrong.recv()
        raise SystemExit("a client with the wrong server key was answered")
    except zmq.Again:
        pass
print("talked")
