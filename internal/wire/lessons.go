package wire

// Lessons is GET /api/v1/lessons: what the Forge can train an adapter on.
type Lessons struct {
	Lessons []Lesson `json:"lessons"`
	Skipped int      `json:"skipped"` // methods that the model in use has no words for
}

// Lesson is one example: what the model reads, in words or in tokens, and what
// it should have written. From is "correction" or "kept".
type Lesson struct {
	From           string  `json:"from"`
	Mission        string  `json:"mission"`
	System         string  `json:"system,omitempty"`
	Prompt         string  `json:"prompt,omitempty"`
	Response       string  `json:"response,omitempty"`
	PromptTokens   []int32 `json:"prompt_tokens,omitempty"`
	ResponseTokens []int32 `json:"response_tokens,omitempty"`
}
