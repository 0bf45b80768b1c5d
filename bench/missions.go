package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// trips is how many unknown selectors are sent.
const trips = 40

// missions measures what a person waits: batos send of a selector that nobody
// understands, from the start of the program to its end, with the shipped
// model on this machine's processor. Every trip is another object and
// selector, so every trip is a mission.
func missions(ctx context.Context, dir string, emit func(Figure)) error {
	program, err := filepath.Abs("batos")
	if err != nil {
		return err
	}
	if _, err := os.Stat(program); err != nil {
		return fmt.Errorf("%w; run make build first", err)
	}
	env := append(os.Environ(), "BATOS_IMAGE="+filepath.Join(dir, "image"), "BATOS_SERVER=http://127.0.0.1:18420")
	server := exec.CommandContext(ctx, program, "up", "--zmq", "none", "--http", "127.0.0.1:18420")
	server.Env, server.Stderr = env, os.Stderr
	out, err := server.StdoutPipe()
	if err != nil {
		return err
	}
	if err := server.Start(); err != nil {
		return err
	}
	defer func() {
		_ = server.Process.Signal(syscall.SIGTERM) // it may have ended already
		_ = server.Wait()
	}()
	lines := bufio.NewScanner(out)
	ready := false
	for !ready && lines.Scan() {
		ready = strings.HasPrefix(lines.Text(), "ready")
	}
	if !ready {
		return fmt.Errorf("batos up did not come up")
	}
	go func() {
		for lines.Scan() { // keep the pipe empty
		}
	}()
	call := func(args ...string) (string, error) {
		c := exec.CommandContext(ctx, program, args...)
		c.Env = env
		b, err := c.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("batos %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(b))
		}
		return string(bytes.TrimSpace(b)), err
	}
	slots := []string{"count", "points", "coins", "level", "stock", "energy", "score", "balance"}
	selectors := []string{"increment_by", "raise_%s_by", "decrease_%s_by", "add_to_%s", "reduce_%s_by"}
	var took []float64
	right := 0
	for i := range trips {
		slot, sel := slots[i%len(slots)], selectors[i/len(slots)%len(selectors)]
		if strings.Contains(sel, "%s") {
			sel = fmt.Sprintf(sel, slot)
		}
		name := fmt.Sprintf("thing%d", i)
		if _, err := call("new", name, "--slots", fmt.Sprintf(`{%q: 10}`, slot)); err != nil {
			return err
		}
		want := "14"
		if strings.Contains(sel, "decrease") || strings.Contains(sel, "reduce") {
			want = "6"
		}
		began := time.Now()
		got, err := call("send", name, sel, "4")
		took = append(took, time.Since(began).Seconds())
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			continue
		}
		if got == want {
			right++
		}
	}
	slices.Sort(took)
	emit(Figure{Name: "mission.send.p50", Value: took[len(took)/2], Unit: "s", Bar: 1, AtMost: true})
	emit(Figure{Name: "mission.send.p95", Value: took[len(took)*95/100], Unit: "s", Bar: 3, AtMost: true})
	emit(Figure{Name: "mission.send.right", Value: float64(right) / trips, Unit: "share"})
	return nil
}
