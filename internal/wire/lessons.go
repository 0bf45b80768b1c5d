package wire

import "time"

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

// Train is the body of POST /api/v1/forge/jobs. Without a name the new adapter
// has the persona's next one.
type Train struct {
	Persona string `json:"persona"`
	Name    string `json:"name,omitempty"`
	Promote bool   `json:"promote,omitempty"` // put a better adapter in the old one's place
}

// Jobs is GET /api/v1/forge/jobs.
type Jobs struct {
	Jobs []Job `json:"jobs"`
}

// Job is one training. Status is queued, running, done, rejected (the new
// adapter is not better) or failed; Before and After are losses on lessons
// kept back.
type Job struct {
	OID     string    `json:"oid"`
	Persona string    `json:"persona"`
	Adapter string    `json:"adapter"`
	Status  string    `json:"status"`
	By      string    `json:"by"`
	Began   time.Time `json:"began"`
	Lessons int64     `json:"lessons"`
	Step    int64     `json:"step"`
	Steps   int64     `json:"steps"`
	Loss    float64   `json:"loss"`
	Before  float64   `json:"loss_before"`
	After   float64   `json:"loss_after"`
	Promote bool      `json:"promote"`
	Result  string    `json:"result,omitempty"`
	Error   string    `json:"error,omitempty"`
}
