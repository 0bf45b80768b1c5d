package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"batos/internal/gguf"
	"batos/seedmind"
)

// scriptPeft writes a PEFT folder with a random adapter of rank 4 for the
// shipped model: peft FOLDER SEED.
func scriptPeft(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: peft FOLDER SEED")
	}
	seed, err := strconv.ParseUint(args[1], 10, 64)
	ts.Check(err)
	width, layers, err := seedShape(ts.MkAbs("."))
	ts.Check(err)
	r := rand.New(rand.NewPCG(seed, 1))
	header, data := map[string]any{}, []byte(nil)
	add := func(name string, rows, columns int) {
		begin := len(data)
		for range rows * columns {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(r.NormFloat64()*0.3)))
		}
		header[name] = map[string]any{"dtype": "F32", "shape": []int{rows, columns}, "data_offsets": []int{begin, len(data)}}
	}
	for l := range layers {
		for _, m := range []string{"self_attn.q_proj", "self_attn.o_proj"} {
			p := fmt.Sprintf("base_model.model.model.layers.%d.%s.", l, m)
			add(p+"lora_A.weight", 4, width)
			add(p+"lora_B.weight", width, 4)
		}
	}
	h, err := json.Marshal(header)
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(os.WriteFile(filepath.Join(dir, "adapter_model.safetensors"), append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(h))), h...), data...), 0o644))
	ts.Check(os.WriteFile(filepath.Join(dir, "adapter_config.json"), []byte(`{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none"}`), 0o644))
}

// scriptSeedFile writes the shipped model: seedfile FILE.
func scriptSeedFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: seedfile FILE")
	}
	r, err := seedmind.Open()
	ts.Check(err)
	defer r.Close()
	b, err := io.ReadAll(r)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o600))
}

// seedShape reads the shipped model's width and layers.
func seedShape(dir string) (width, layers int, err error) {
	r, err := seedmind.Open()
	if err != nil {
		return 0, 0, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return 0, 0, err
	}
	path := filepath.Join(dir, "seed.gguf")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return 0, 0, err
	}
	f, err := gguf.Open(path)
	if err != nil {
		return 0, 0, err
	}
	for key, to := range map[string]*int{"llama.embedding_length": &width, "llama.block_count": &layers} {
		v, _ := f.Get(key)
		n, _ := v.Uint()
		*to = int(n)
	}
	return width, layers, os.Remove(path)
}
