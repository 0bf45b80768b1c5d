package seedmind

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"testing"

	"batos"
	"batos/internal/gguf"
)

// adapterBytes writes an adapter file of one tensor pair.
func adapterBytes(t testing.TB, keys map[string]string) []byte {
	t.Helper()
	entries := []gguf.Entry{
		{Key: "general.architecture", Value: gguf.OfText("llama")},
		{Key: "general.type", Value: gguf.OfText("adapter")},
		{Key: "adapter.type", Value: gguf.OfText("lora")},
		{Key: "adapter.lora.alpha", Value: gguf.OfFloat(8)},
	}
	for _, k := range []string{"general.name", adapterPersona, adapterRole, adapterBase, adapterRecipe} {
		if keys[k] != "" {
			entries = append(entries, gguf.Entry{Key: k, Value: gguf.OfText(keys[k])})
		}
	}
	var parts []gguf.Part
	for name, dims := range map[string][]int64{"blk.0.attn_q.weight.lora_a": {32, 4}, "blk.0.attn_q.weight.lora_b": {4, 32}} {
		parts = append(parts, gguf.Part{
			Tensor: gguf.Tensor{Name: name, Type: gguf.F16, Dims: dims}, Data: bytes.NewReader(make([]byte, 2*4*32)),
		})
	}
	var out bytes.Buffer
	if err := gguf.Write(&out, entries, parts); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestReadAdapter(t *testing.T) {
	file := adapterBytes(t, map[string]string{"general.name": "babs_lora", adapterPersona: "BABS", adapterRole: "requirements", adapterBase: "12", adapterRecipe: "r"})
	a, err := ReadAdapter(file)
	if err != nil || a.Persona != "BABS" || a.Name != "babs_lora" || a.Rank != 4 || a.Alpha != 8 || a.Base != "12" || a.Recipe != "r" || a.Role != "requirements" {
		t.Errorf("read as %+v, %v", a, err)
	}
	for name, file := range map[string][]byte{
		"no persona": adapterBytes(t, nil),
		"cut":        file[:200],
		"empty":      nil,
	} {
		if _, err := ReadAdapter(file); batos.CodeOf(err) != batos.Invalid {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
}

// The shipped adapters, if there are any, are of the shipped model.
func TestShippedAdapters(t *testing.T) {
	all, err := Adapters()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Skip("this build carries no adapters")
	}
	if len(all) != len(Personas) {
		t.Errorf("%d adapters for %d personas", len(all), len(Personas))
	}
	f, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	base := hex.EncodeToString(h.Sum(nil))
	for _, a := range all {
		if a.Base != base {
			t.Errorf("%s is of the model %.12s, the shipped one is %.12s: run make seedmind-adapters", a.Name, a.Base, base)
		}
		if a.Name != strings.ToLower(a.Persona)+"_lora" || a.Role == "" || a.Recipe == "" || len(a.GGUF) > 400<<10 {
			t.Errorf("%s of %s has role %q, recipe %q, %d bytes", a.Name, a.Persona, a.Role, a.Recipe, len(a.GGUF))
		}
		g, err := gguf.Read(bytes.NewReader(a.GGUF), int64(len(a.GGUF)))
		if err == nil {
			err = gguf.CheckAdapter(g)
		}
		if err != nil {
			t.Errorf("%s: %v", a.Name, err)
		}
	}
}
