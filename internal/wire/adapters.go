package wire

import "time"

// Adapters is GET /api/v1/adapters.
type Adapters struct {
	Adapters []Adapter `json:"adapters"`
	Tiers    Tiers     `json:"tiers"`
}

// Tiers is how full the tiers of memory are, in bytes.
type Tiers struct {
	Warm       int64 `json:"warm"`
	WarmBudget int64 `json:"warm_budget"`
	Hot        int64 `json:"hot"`
	HotBudget  int64 `json:"hot_budget"`
	Thrash     bool  `json:"thrash,omitempty"` // what is in use does not fit: the same adapters are loaded again and again
}

// Adapter is a LoRA adapter of the image.
type Adapter struct {
	OID        string     `json:"oid"`
	Name       string     `json:"name"`
	Persona    string     `json:"persona,omitempty"`
	Hash       string     `json:"hash"`
	Base       string     `json:"base"`
	Fits       bool       `json:"fits"` // it is for the model in use
	Rank       int64      `json:"rank"`
	Alpha      float64    `json:"alpha"`
	Targets    []string   `json:"targets"`
	Parameters int64      `json:"parameters"`
	Origin     string     `json:"origin"`
	Bytes      int64      `json:"bytes"`
	Tier       string     `json:"tier"` // cold, warm, hot, active
	Hits       int64      `json:"hits"`
	LastUse    *time.Time `json:"last_use,omitempty"`
}

// ImportAdapters is POST /api/v1/adapters: everything at a path on the
// server's machine.
type ImportAdapters struct {
	Path    string  `json:"path"`
	Name    string  `json:"name,omitempty"`    // for a single one
	Alpha   float64 `json:"alpha,omitempty"`   // for matrices without adapter_config.json
	Persona string  `json:"persona,omitempty"` // whose work it does
}

// ExportAdapter is POST /api/v1/adapters/{name}/export: into a folder of the
// server's machine, in PEFT's form if it came so and GGUF is not set.
type ExportAdapter struct {
	Folder string `json:"folder"`
	GGUF   bool   `json:"gguf,omitempty"`
}

// ExportedAdapter answers ExportAdapter.
type ExportedAdapter struct {
	Adapter Adapter `json:"adapter"`
	Path    string  `json:"path"`
}

// ImportedAdapters answers ImportAdapters, one entry for each that was found.
type ImportedAdapters struct {
	Imported []ImportedAdapter `json:"imported"`
}

// ImportedAdapter is what became of one: added, known already, or refused.
type ImportedAdapter struct {
	File    string   `json:"file"`
	Added   bool     `json:"added"`
	Adapter *Adapter `json:"adapter,omitempty"`
	Error   *Error   `json:"error,omitempty"`
}

// Models is GET /api/v1/models.
type Models struct {
	Models []Model `json:"models"`
}

// Model is a base model that the image holds.
type Model struct {
	Name         string `json:"name"`
	Hash         string `json:"hash"`
	Bytes        int64  `json:"bytes"`
	Architecture string `json:"architecture"`
	Context      int    `json:"context_tokens"`
	Parameters   uint64 `json:"parameters"`
	InUse        bool   `json:"in_use"`
}

// ImportModel is POST /api/v1/models: a GGUF file on the server's machine.
type ImportModel struct {
	Path string `json:"path"`
	Name string `json:"name,omitempty"`
}
