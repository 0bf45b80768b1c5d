package wire

import "time"

// Tokens is GET /api/v1/tokens: the tokens that were given away.
type Tokens struct {
	Tokens []Token `json:"tokens"`
}

// Token is a token that was given away, without its secret.
type Token struct {
	Name      string    `json:"name"`
	Scopes    []string  `json:"scopes"`     // read, send, synthesize, admin
	PerMinute int       `json:"per_minute"` // requests; 0 is no bound
	Created   time.Time `json:"created"`
}

// NewToken is POST /api/v1/tokens.
type NewToken struct {
	Name      string   `json:"name"`
	Scopes    []string `json:"scopes"`
	PerMinute int      `json:"per_minute,omitempty"`
}

// GivenToken answers NewToken: the only time that the secret is told.
type GivenToken struct {
	Token
	Secret string `json:"secret"`
}

// Names is GET /api/v1/names: the root names, in order.
type Names struct {
	Names []string `json:"names"`
}
