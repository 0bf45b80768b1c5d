package adapter

import (
	"bytes"
	"encoding/json"
	"math"
	"regexp"
	"strings"
)

// Config is what adapter_config.json of a PEFT adapter says, as far as it
// changes what the adapter does.
type Config struct {
	Rank         int
	Alpha        float64
	RSLoRA       bool // scale by alpha/√rank instead of alpha/rank
	AlphaPattern []Pattern
	RankPattern  []Pattern
	BaseModel    string // what its author calls the base model
}

// Pattern is a value for the modules whose names match.
type Pattern struct {
	Match *regexp.Regexp
	Value float64
}

// of gives the value for a module, or the general one. PEFT takes the first
// pattern that a module's name ends with.
func of(patterns []Pattern, module string, or float64) float64 {
	for _, p := range patterns {
		if p.Match.MatchString(module) {
			return p.Value
		}
	}
	return or
}

// scale is the factor of B·A for a module: alpha and rank of the module by
// PEFT's rules.
func (c Config) scale(module string, rank int64) float64 {
	alpha := of(c.AlphaPattern, module, c.Alpha)
	if c.RSLoRA {
		return alpha / math.Sqrt(float64(rank))
	}
	return alpha / float64(rank)
}

// maxConfig bounds a configuration, in bytes.
const maxConfig = 1 << 20

// Ways to begin training that leave the base model other than it was.
var changesBase = []string{"pissa", "olora", "loftq", "corda"}

// ReadConfig reads adapter_config.json. Whatever changes what the adapter does
// and is not done by plain LoRA matrices is refused by its name.
func ReadConfig(b []byte) (Config, error) {
	var c Config
	if len(b) > maxConfig {
		return c, refuse("adapter_config.json has %d bytes, at most %d make sense", len(b), maxConfig)
	}
	var raw struct {
		Type          string          `json:"peft_type"`
		Rank          *int            `json:"r"`
		Alpha         *float64        `json:"lora_alpha"`
		RSLoRA        bool            `json:"use_rslora"`
		DoRA          bool            `json:"use_dora"`
		QALoRA        bool            `json:"use_qalora"`
		Bias          *string         `json:"bias"`
		LoRABias      bool            `json:"lora_bias"`
		Save          []string        `json:"modules_to_save"`
		Tokens        json.RawMessage `json:"trainable_token_indices"`
		Replication   json.RawMessage `json:"layer_replication"`
		Parameters    []string        `json:"target_parameters"`
		Megatron      json.RawMessage `json:"megatron_config"`
		FanInFanOut   bool            `json:"fan_in_fan_out"`
		Init          json.RawMessage `json:"init_lora_weights"`
		AlphaPattern  json.RawMessage `json:"alpha_pattern"`
		RankPattern   json.RawMessage `json:"rank_pattern"`
		Base          *string         `json:"base_model_name_or_path"`
		ALoRA         json.RawMessage `json:"alora_invocation_tokens"`
		ArrowConfig   json.RawMessage `json:"arrow_config"`
		EnsureWeights bool            `json:"ensure_weight_tying"`
	}
	if err := json.Unmarshal(b, &raw); err != nil {
		return c, refuse("adapter_config.json is no JSON of an adapter: %w", err)
	}
	set := func(r json.RawMessage) bool {
		s := string(bytes.TrimSpace(r))
		return s != "" && s != "null" && s != "[]" && s != "{}" && s != "false"
	}
	unsupported := ""
	switch {
	case raw.Type != "LORA":
		return c, refuse("the adapter is of the type %.40q; only LORA can be used", raw.Type)
	case raw.DoRA:
		unsupported = "DoRA (use_dora)"
	case raw.QALoRA:
		unsupported = "QALoRA (use_qalora)"
	case raw.Bias != nil && *raw.Bias != "" && *raw.Bias != "none":
		unsupported = "trained biases (bias: " + *raw.Bias + ")"
	case raw.LoRABias:
		unsupported = "biases of its own (lora_bias)"
	case len(raw.Save) > 0:
		unsupported = "whole trained modules (modules_to_save: " + strings.Join(raw.Save, ", ") + ")"
	case set(raw.Tokens):
		unsupported = "trained tokens (trainable_token_indices)"
	case set(raw.Replication):
		unsupported = "repeated layers (layer_replication)"
	case len(raw.Parameters) > 0:
		unsupported = "single parameters as targets (target_parameters)"
	case set(raw.Megatron):
		unsupported = "Megatron layers (megatron_config)"
	case set(raw.ALoRA):
		unsupported = "a beginning at invocation tokens (alora_invocation_tokens)"
	case set(raw.ArrowConfig):
		unsupported = "routing among adapters (arrow_config)"
	case raw.FanInFanOut:
		unsupported = "transposed weights (fan_in_fan_out)"
	}
	if unsupported != "" {
		return c, refuse("the adapter uses %s, which this release cannot do", unsupported)
	}
	var init string
	if json.Unmarshal(raw.Init, &init) == nil {
		for _, bad := range changesBase {
			if strings.HasPrefix(strings.ToLower(init), bad) {
				return c, refuse("the adapter was begun by %s, which changes the base model too; convert it to plain LoRA with PEFT first", init)
			}
		}
	}
	switch {
	case raw.Rank == nil || *raw.Rank < 1 || *raw.Rank > 1<<16:
		return c, refuse("adapter_config.json gives no sensible rank (r)")
	case raw.Alpha == nil || !(*raw.Alpha > 0) || math.IsInf(*raw.Alpha, 0):
		return c, refuse("adapter_config.json gives no lora_alpha above 0")
	}
	c.Rank, c.Alpha, c.RSLoRA = *raw.Rank, *raw.Alpha, raw.RSLoRA
	if raw.Base != nil {
		c.BaseModel = *raw.Base
	}
	var err error
	if c.AlphaPattern, err = patterns("alpha_pattern", raw.AlphaPattern); err != nil {
		return c, err
	}
	c.RankPattern, err = patterns("rank_pattern", raw.RankPattern)
	return c, err
}

// patterns reads an object from pattern to value, in the order of the file.
func patterns(name string, raw json.RawMessage) ([]Pattern, error) {
	if len(raw) == 0 || string(bytes.TrimSpace(raw)) == "null" {
		return nil, nil
	}
	bad := func(key string, err error) error {
		return refuse("adapter_config.json: %s gives %.80q no sensible value: %w", name, key, err)
	}
	p := headerParser{d: json.NewDecoder(bytes.NewReader(raw))}
	var out []Pattern
	err := p.object(func(key string) error {
		var v float64
		if err := p.d.Decode(&v); err != nil {
			return bad(key, err)
		}
		if !(v > 0) || math.IsInf(v, 0) {
			return bad(key, errShape)
		}
		re, err := regexp.Compile(`^(.*\.)?(` + key + `)$`)
		if err != nil {
			return bad(key, err)
		}
		out = append(out, Pattern{re, v})
		return nil
	})
	return out, err
}
