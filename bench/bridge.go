package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"

	"batos"
	"batos/image"
	"batos/internal/door/access"
	"batos/internal/door/bridge"
	"batos/internal/kernel"
	"batos/internal/zmtp"
	"batos/object"
)

// bridgeSends is how many requests the clients make together: enough that
// their start does not show.
const bridgeSends = 100000

// bridges measures the ZeroMQ bridge: eight pyzmq clients, 32 requests under
// way each, one in a hundred malformed. The limit is a bare ROUTER that sends
// back what it got, with the same clients: what they can ask for at all.
func bridges(ctx context.Context, dir string, emit func(Figure)) error {
	python, err := findPython()
	if err != nil {
		fmt.Println("bench bridge: skipped:", err)
		return nil
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	im, err := image.Open(ctx, filepath.Join(dir, "image"), image.Options{})
	if err != nil {
		return err
	}
	defer im.Close()
	k, err := kernel.Start(ctx, kernel.Config{Image: im, Log: log, Release: "bench"})
	if err != nil {
		return err
	}
	defer k.Close(ctx)
	if _, err := k.New(ctx, kernel.Person{Name: "bench"}, "mirror", batos.Ref{}, []object.Slot{{Name: "last", Value: object.None{}}}); err != nil {
		return err
	}
	source := "def echo(self, a):\n    return a\n"
	if _, err := k.Def(ctx, kernel.Person{Name: "bench"}, batos.Ref{Name: "mirror"}, source); err != nil {
		return err
	}
	keys, err := access.Open(dir, benchToken, "bench")
	if err != nil {
		return err
	}
	l, err := bridge.Bind("tcp://127.0.0.1:0", false)
	if err != nil {
		return err
	}
	door := bridge.New(l, bridge.Config{Kernel: k, Keys: keys, Log: log})
	defer door.Close(ctx)
	go func() { _ = door.Serve() }() // its end shows in the clients

	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mirror := zmtp.NewRouter(plain, zmtp.Options{}, func(p *zmtp.Peer, frames [][]byte) { _ = p.Send(frames) })
	defer mirror.Close(ctx)
	go func() { _ = mirror.Serve() }() // as above

	load := func(address, selector string, more ...string) func() (float64, error) {
		return func() (float64, error) {
			return pythonLoad(ctx, python, append([]string{address, benchToken, "mirror", selector, strconv.Itoa(bridgeSends), "1"}, more...))
		}
	}
	rates, err := inTurn(
		load(bridge.Scheme+plain.Addr().String(), "echo", "echo"), load(door.Address(), "echo"),
	)
	if err != nil {
		return err
	}
	emit(Figure{Name: "bridge.send", Value: rates[1], Unit: "msg/s", Against: rates[0], Bar: 0.5})
	return nil
}

func findPython() (string, error) {
	for _, p := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(p, "-c", "import zmq, msgpack").Run() == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("python3 with pyzmq and msgpack is missing (Debian: python3-zmq, python3-msgpack)")
}

// pythonLoad runs the clients and gives requests a second. An answer that is
// missing or wrong is an error.
func pythonLoad(ctx context.Context, python string, args []string) (float64, error) {
	script := filepath.Join("internal", "door", "bridge", "testdata", "load.py")
	out, err := exec.CommandContext(ctx, python, append([]string{script}, args...)...).Output()
	if err != nil {
		return 0, fmt.Errorf("%s: %w", script, err)
	}
	var got struct {
		Sent, OK, Refused int
		Wrong             []string
		Seconds           float64
	}
	if err := json.Unmarshal(out, &got); err != nil {
		return 0, err
	}
	if got.Sent != bridgeSends || got.OK+got.Refused != bridgeSends || len(got.Wrong) > 0 {
		return 0, fmt.Errorf("of %d requests %d were answered, %d refused; wrong: %v", got.Sent, got.OK, got.Refused, got.Wrong)
	}
	return float64(got.Sent) / got.Seconds, nil
}
