package forge

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"batos"
)

// A checkpoint is one file: magic, format version, identity of the run, steps
// done, number of the next example, then for each tensor in training its
// weights and both moments, as little-endian F32 in the order of the layout,
// and the SHA-256 of all that. There is no random state to keep: every random
// choice follows from the seed and the example's number.
const (
	checkpointFile    = "checkpoint"
	checkpointMagic   = "batforge"
	checkpointVersion = 1
	checkpointHeader  = 8 + 4 + 32 + 8 + 8
)

var le = binary.LittleEndian

// runState is where a run stands between two steps.
type runState struct {
	identity [32]byte
	step     int // optimizer steps done
	next     int // number of the first example not yet used
}

// identity fingerprints whatever the result of a run depends on, threads
// excepted.
func (c Config) identity(what string) [32]byte {
	c.Threads, c.CheckpointDir, c.CheckpointEvery = 0, "", 0
	if c.Start != nil {
		what += " from " + c.Start.fingerprint()
		c.Start = nil
	}
	return sha256.Sum256(fmt.Appendf(nil, "%s %+v", what, c))
}

// save writes the checkpoint in place of the one before; a crash leaves one of
// the two.
func (s *runState) save(dir string, net *network) error {
	var buf bytes.Buffer
	buf.WriteString(checkpointMagic)
	head := le.AppendUint32(nil, checkpointVersion)
	head = append(head, s.identity[:]...)
	head = le.AppendUint64(head, uint64(s.step))
	head = le.AppendUint64(head, uint64(s.next))
	buf.Write(head)
	for _, p := range net.params {
		for _, t := range []interface{ Floats([]float32) }{p.w, p.m, p.v} {
			v := make([]float32, p.elements())
			t.Floats(v)
			buf.Write(floatBytes(v))
		}
	}
	sum := sha256.Sum256(buf.Bytes())
	buf.Write(sum[:])
	if err := writeFile(dir, checkpointFile, buf.Bytes()); err != nil {
		return batos.Errorf(batos.Invalid, "checkpoint: %w", err)
	}
	return nil
}

// restore reads the checkpoint of dir into net, if there is one.
func (s *runState) restore(dir string, net *network) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return batos.Errorf(batos.Invalid, "checkpoint: %w", err)
	}
	path := filepath.Join(dir, checkpointFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return batos.Errorf(batos.Invalid, "checkpoint: %w", err)
	}
	body := len(b) - sha256.Size
	if body < checkpointHeader || string(b[:8]) != checkpointMagic || sha256.Sum256(b[:body]) != [32]byte(b[body:]) {
		return batos.Errorf(batos.Corrupt, "checkpoint %s is damaged: remove it to start again", path)
	}
	if v := le.Uint32(b[8:]); v != checkpointVersion {
		return batos.Errorf(batos.NewerFormat, "checkpoint %s has format %d, this release reads %d", path, v, checkpointVersion)
	}
	want := 0
	for _, p := range net.params {
		want += 3 * 4 * p.elements()
	}
	if [32]byte(b[12:44]) != s.identity || body != checkpointHeader+want {
		return batos.Errorf(batos.Invalid, "checkpoint %s belongs to a run with other settings: remove it, or name another folder", path)
	}
	s.step, s.next = int(le.Uint64(b[44:])), int(le.Uint64(b[52:]))
	b = b[checkpointHeader:body]
	for _, p := range net.params {
		for _, t := range []interface{ SetFloats([]float32) }{p.w, p.m, p.v} {
			v := make([]float32, p.elements())
			for i := range v {
				v[i] = math.Float32frombits(le.Uint32(b[4*i:]))
			}
			b = b[4*len(v):]
			t.SetFloats(v)
		}
	}
	return nil
}

func floatBytes(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, f := range v {
		b = le.AppendUint32(b, math.Float32bits(f))
	}
	return b
}

// writeFile replaces dir/name by data, durably and at once.
func writeFile(dir, name string, data []byte) (err error) {
	f, err := os.CreateTemp(dir, name+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the error that matters is the first
		}
	}()
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Snapshot gives the weights of the checkpoint in dir, of a training run from
// scratch or from other weights of shape a, and the steps done.
func Snapshot(dir string, a Arch) (w *Weights, step int, err error) {
	a = a.withDefaults()
	path := filepath.Join(dir, checkpointFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, batos.Errorf(batos.NotFound, "checkpoint: %w", err)
	}
	want := checkpointHeader + sha256.Size
	for _, s := range a.layout() {
		want += 3 * 4 * s.elements()
	}
	if len(b) != want || string(b[:8]) != checkpointMagic || sha256.Sum256(b[:len(b)-sha256.Size]) != [32]byte(b[len(b)-sha256.Size:]) {
		return nil, 0, batos.Errorf(batos.Corrupt, "checkpoint %s is damaged, or of another model shape", path)
	}
	w = &Weights{Arch: a, tensors: make(map[string][]float32)}
	step = int(le.Uint64(b[44:]))
	b = b[checkpointHeader:]
	for _, s := range a.layout() {
		v := make([]float32, s.elements())
		for i := range v {
			v[i] = math.Float32frombits(le.Uint32(b[4*i:]))
		}
		w.tensors[s.name] = v
		b = b[3*4*len(v):]
	}
	return w, step, nil
}
