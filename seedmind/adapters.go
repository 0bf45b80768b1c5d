package seedmind

import (
	"bytes"
	"strings"

	"batos"
	"batos/internal/gguf"
)

// Personas are the four roles that adapters are made for.
var Personas = []string{"BRICK", "ROBIN", "BABS", "ALFRED"}

// Adapter is a LoRA adapter of the shipped model.
type Adapter struct {
	Persona string // one of Personas
	Name    string // brick_lora: what it is called in an image
	Role    string // what it was trained on, for people
	Base    string // SHA-256 of the model's file, hex: it fits no other
	Recipe  string // how it was trained
	Rank    int
	Alpha   float32
	GGUF    []byte
}

// Keys of an adapter file, beside those of every LoRA file.
const (
	adapterPersona = "batos.persona"
	adapterRole    = "batos.role"
	adapterBase    = "batos.base"
	adapterRecipe  = "batos.recipe"
)

// AdapterFile is the adapter of a persona inside the package's folder.
func AdapterFile(persona string) string { return "weights/" + strings.ToLower(persona) + ".gguf" }

// AdapterName is what a persona's shipped adapter is called in an image.
func AdapterName(persona string) string { return strings.ToLower(persona) + "_lora" }

// AdapterKeys are the keys that an adapter's file says of itself: key and
// value. base is the SHA-256 of its model's file, in hex.
func AdapterKeys(role Role, base string, r AdapterRecipe) [][2]string {
	return [][2]string{
		{adapterPersona, role.Persona}, {adapterRole, role.Text}, {adapterBase, base}, {adapterRecipe, r.String()},
	}
}

// Adapters gives the shipped adapters, in the order of Personas. A build
// without any has none, which is no error.
func Adapters() ([]Adapter, error) {
	var out []Adapter
	for _, p := range Personas {
		b, err := weights.ReadFile(AdapterFile(p))
		if err != nil {
			continue // an embedded file that cannot be read is one that is not there
		}
		a, err := ReadAdapter(b)
		if err != nil {
			return nil, batos.Errorf(batos.Corrupt, "the shipped adapter of %s: %w", p, err)
		}
		if a.Persona != p {
			return nil, batos.Errorf(batos.Corrupt, "the shipped adapter of %s says it is of %s", p, a.Persona)
		}
		out = append(out, a)
	}
	return out, nil
}

// ReadAdapter reads what an adapter file says of itself.
func ReadAdapter(file []byte) (Adapter, error) {
	f, err := gguf.Read(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return Adapter{}, err
	}
	a := Adapter{
		Persona: f.Text(adapterPersona), Role: f.Text(adapterRole), Base: f.Text(adapterBase), Recipe: f.Text(adapterRecipe),
		Name: f.Text("general.name"), GGUF: file,
	}
	if v, ok := f.Get("adapter.lora.alpha"); ok {
		alpha, _ := v.Float()
		a.Alpha = float32(alpha)
	}
	for _, t := range f.Tensors {
		if strings.HasSuffix(t.Name, ".lora_a") && len(t.Dims) == 2 {
			a.Rank = int(t.Dims[1])
			break
		}
	}
	if a.Rank == 0 || a.Alpha == 0 || a.Persona == "" {
		return Adapter{}, batos.Errorf(batos.Invalid, "the file is no adapter of a persona")
	}
	return a, nil
}
