"""Eight clients at once, one request in a hundred malformed. Prints JSON:
what was sent, answered, refused, and the seconds it took. With a seventh
argument "echo" the other side is a bare echo, and every answer counts."""
import json, random, sys, threading, time
import msgpack, zmq

address, token, target, selector, total, seed = sys.argv[1:7]
clients, window = 8, 32
bare = sys.argv[7:] == ["echo"]
each = int(total) // clients
result = {"sent": 0, "ok": 0, "refused": 0, "wrong": []}
lock = threading.Lock()
context = zmq.Context()


def malformed(rng):
    return rng.choice([b"", b"\xc1", b"\x93\x01", b"\xdf\xff\xff\xff\xff", msgpack.packb(7), msgpack.packb({"command": "nothing"}),
                       msgpack.packb({"command": "send", "target": 7.5}), b"\x81\xa7command\xa4\xff\xfe\xfd\xfc"])


def run(n):
    rng = random.Random(int(seed) * 100 + n)
    s = context.socket(zmq.DEALER)
    s.linger = 0
    s.connect(address)
    s.send(msgpack.packb({"command": "status", "token": token}))
    s.recv()
    open_refs, bad, ok, refused = set(), 0, 0, 0
    i = 0
    while i < each or open_refs or refused < bad:
        while i < each and len(open_refs) + (bad - refused) < window:
            i += 1
            if rng.random() < 0.01:
                s.send(malformed(rng))
                bad += 1
            else:
                ref = "%d/%d" % (n, i)
                s.send(msgpack.packb({"command": "send", "target": target, "selector": selector, "args": [i], "ref": ref}))
                open_refs.add(ref)
        if not s.poll(30000):
            break
        answer = s.recv()
        if bare:
            try:
                a = msgpack.unpackb(answer)
                open_refs.remove(a["ref"])
                ok += 1
            except Exception:  # a malformed request came back as it was
                refused += 1
            continue
        a = msgpack.unpackb(answer)
        if a.get("ok"):
            if a["ref"] not in open_refs or a["value"] != int(a["ref"].split("/")[1]):
                with lock:
                    result["wrong"].append(a)
            open_refs.discard(a["ref"])
            ok += 1
        elif "ref" not in a:
            refused += 1
        else:
            with lock:
                result["wrong"].append(a)
            open_refs.discard(a["ref"])
    with lock:
        result["sent"] += i
        result["ok"] += ok
        result["refused"] += refused
    s.close()


began = time.time()
threads = [threading.Thread(target=run, args=(n,)) for n in range(clients)]
[t.start() for t in threads]
[t.join() for t in threads]
result["seconds"] = time.time() - began
result["wrong"] = [repr(w) for w in result["wrong"][:3]]
print(json.dumps(result))
