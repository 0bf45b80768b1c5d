package adapter

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"batos"
)

// Found is an adapter on the disk.
type Found struct {
	Name    string // of its file or folder, without ending
	Weights string // path of adapter_model.safetensors, of another safetensors file, or of a GGUF file
	Config  string // path of its adapter_config.json; "" if there is none
}

// GGUF reports whether the weights are in the engine's own form.
func (f Found) GGUF() bool { return strings.HasSuffix(f.Weights, ".gguf") }

// Names in a PEFT folder.
const (
	peftConfig  = "adapter_config.json"
	peftWeights = "adapter_model.safetensors"
	peftPickled = "adapter_model.bin" // of older releases
)

// Find lists the adapters at a path: one file, a PEFT folder, or a folder that
// holds some of either, by name. The configuration of a safetensors file is
// the JSON file of its name beside it, or its folder's adapter_config.json.
// Pickled weights are found and then refused by [Found.ReadConfig]: reading
// them can run other people's code.
func Find(path string) ([]Found, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, batos.Errorf(batos.NotFound, "%s: there is no such file or folder", path)
	}
	if !st.IsDir() {
		f, ok := found(path)
		if !ok {
			return nil, batos.Errorf(batos.Invalid, "%s is no adapter: want a PEFT folder, a .safetensors or a .gguf file (.bin and .pt can run code, and are not read)", path)
		}
		return []Found{f}, nil
	}
	if f, ok := peftFolder(absolute(path)); ok {
		return []Found{f}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, batos.Errorf(batos.Denied, "%s cannot be read: %w", path, err)
	}
	var out []Found
	for _, e := range entries {
		name := filepath.Join(path, e.Name())
		if st, err := os.Stat(name); err == nil && st.IsDir() {
			if f, ok := peftFolder(name); ok {
				out = append(out, f)
			}
			continue
		}
		if f, ok := found(name); ok {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b Found) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func peftFolder(path string) (Found, bool) {
	for _, weights := range []string{peftWeights, peftPickled} {
		if w := existing(filepath.Join(path, weights)); w != "" {
			return Found{Name: filepath.Base(path), Weights: w, Config: existing(filepath.Join(path, peftConfig))}, true
		}
	}
	return Found{}, false
}

func absolute(path string) string {
	if a, err := filepath.Abs(path); err == nil {
		return a
	}
	return path
}

func existing(path string) string {
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

func found(path string) (Found, bool) {
	dir, base := filepath.Split(path)
	switch ext := filepath.Ext(base); ext {
	case ".gguf":
		return Found{Name: strings.TrimSuffix(base, ext), Weights: path}, true
	case ".safetensors":
		name := strings.TrimSuffix(base, ext)
		f := Found{Name: name, Weights: path, Config: existing(filepath.Join(dir, name+".json"))}
		if f.Config == "" {
			f.Config = existing(filepath.Join(dir, peftConfig))
		}
		return f, true
	}
	return Found{}, false
}

// PlainConfig is the adapter_config.json of plain LoRA matrices that come
// without one: their rank is read from them, their alpha must be known.
func PlainConfig(path string, alpha float64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	s, err := ReadSafetensors(f, st.Size())
	if err != nil {
		return nil, err
	}
	pairs, err := pairsOf(s)
	if err != nil {
		return nil, err
	}
	if len(pairs[0].a.Shape) != 2 {
		return nil, refuse("%q is no matrix", pairs[0].a.Name)
	}
	return json.Marshal(map[string]any{"peft_type": "LORA", "r": pairs[0].a.Shape[0], "lora_alpha": alpha})
}

// ReadConfig reads the configuration of what was found: of GGUF files none, of
// others their file, or a plain one with that alpha if they have none and
// alpha is above 0.
func (f Found) ReadConfig(alpha float64) ([]byte, error) {
	switch {
	case f.GGUF():
		return nil, nil
	case filepath.Ext(f.Weights) == ".bin":
		return nil, refuse("%s is pickled, which can run code when it is read; save the adapter as safetensors (save_pretrained does that)", f.Weights)
	case f.Config != "":
		return os.ReadFile(f.Config)
	case alpha > 0:
		return PlainConfig(f.Weights, alpha)
	}
	return nil, refuse("%s has no adapter_config.json beside it, so its scale is not known; put it there, or give --alpha", f.Weights)
}
