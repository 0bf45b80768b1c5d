package bridge

import (
	"context"
	"encoding/json"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"batos"
	"batos/internal/door/doortest"
	"batos/internal/zmtp"
)

const token = doortest.Token

func TestMain(m *testing.M) { doortest.Main(m) }

// stage is a bridge on an offline image in memory, with a counter.
func stage(t testing.TB, curve *zmtp.KeyPair) *Bridge {
	t.Helper()
	w := doortest.Open(t, nil)
	l, err := Bind("tcp://127.0.0.1:0", curve != nil)
	if err != nil {
		t.Fatal(err)
	}
	b := New(l, Config{Kernel: w.Kernel, Keys: w.Keys, Curve: curve, Log: w.Log})
	served := make(chan error, 1)
	go func() { served <- b.Serve() }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return b
}

// python runs a script of testdata with libzmq's own client.
func python(t *testing.T, args ...string) string {
	t.Helper()
	for _, python := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(python, "-c", "import zmq, msgpack").Run() != nil {
			continue
		}
		out, err := exec.Command(python, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	t.Skip("python3 with pyzmq and msgpack is missing (Debian: python3-zmq, python3-msgpack)")
	return ""
}

func TestPythonTalks(t *testing.T) {
	b := stage(t, nil)
	if out := python(t, "testdata/talk.py", b.Address(), token); !strings.Contains(out, "talked") {
		t.Error(out)
	}
}

func TestPythonTalksEncrypted(t *testing.T) {
	key, err := zmtp.NewKeyPair()
	if err != nil {
		t.Fatal(err)
	}
	b := stage(t, key)
	if out := python(t, "testdata/talk.py", b.Address(), token, zmtp.Z85(key.Public)); !strings.Contains(out, "talked") {
		t.Error(out)
	}
}

// Eight clients, one request in a hundred malformed: every one is answered.
func TestPythonLoad(t *testing.T) {
	b := stage(t, nil)
	total := 2000
	out := python(t, "testdata/load.py", b.Address(), token, "counter", "echo", strconv.Itoa(total), "1")
	var got struct {
		Sent, OK, Refused int
		Wrong             []string
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err, out)
	}
	if got.Sent != total || got.OK+got.Refused != total || got.Refused == 0 || len(got.Wrong) > 0 {
		t.Errorf("%+v", got)
	}
}

func TestBindRefuses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for address, want := range map[string]batos.Code{
		"127.0.0.1:5555": batos.Invalid, "tcp://127.0.0.1": batos.Invalid, "ipc:///x": batos.Invalid, "tcp://0.0.0.0:0": batos.Denied, "tcp://*:0": batos.Denied,
		"tcp://example.org:5555": batos.Denied, "tcp://" + taken.Addr().String(): batos.Busy,
	} {
		if l, err := Bind(address, false); batos.CodeOf(err) != want {
			t.Errorf("%s: %v, %v; want %s", address, l, err, want)
		}
	}
	l, err := Bind("tcp://*:0", true)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
