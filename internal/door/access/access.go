// Package access says who may come in at a door and what they may do there.
// Every door asks it: HTTP, the ZeroMQ bridge, MCP and the OpenAI-compatible
// one.
//
// A [Keyring] knows the tokens of an image: the owner's, which the file
// `token` in the image folder holds and which may do everything, and those that
// the owner gave away with `batos token new`, each with a name, scopes and a
// quota. A token that was recognised is a [Caller].
package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"batos"
	"batos/internal/kernel"
	"batos/internal/wire"
)

// Scope is something a token may do.
type Scope string

const (
	Read       Scope = "read"       // look at objects, messages, missions, history, events
	Send       Scope = "send"       // send messages
	Synthesize Scope = "synthesize" // have missing methods written
	Admin      Scope = "admin"      // everything: what a person at the command line may do
)

// Scopes lists them all.
var Scopes = []Scope{Read, Send, Synthesize, Admin}

// Grant is a token that was given away, without the token itself.
type Grant struct {
	Name      string    `json:"name"`
	Hash      string    `json:"hash"` // SHA-256 of the token, hex
	Scopes    []Scope   `json:"scopes"`
	PerMinute int       `json:"per_minute"` // requests; 0 is no bound
	Created   time.Time `json:"created"`
}

// Caller is who a token stands for. Safe for concurrent use.
type Caller struct {
	Name   string
	scopes []Scope
	quota  *rate.Limiter // nil is no bound
}

// Owner is a caller with every right, for the person at the command line.
func Owner(name string) *Caller { return &Caller{Name: name, scopes: []Scope{Admin}} }

// Has reports whether the caller may do what the scope allows.
func (c *Caller) Has(s Scope) bool {
	return slices.Contains(c.scopes, Admin) || slices.Contains(c.scopes, s)
}

// May is nil if the caller has the scope and requests left in its quota, which
// it takes one of; else the error is denied or limit.
func (c *Caller) May(s Scope) error {
	if !c.Has(s) {
		return batos.Errorf(batos.Denied, "the token %q may not do this: it lacks the scope %q", c.Name, s)
	}
	if c.quota != nil && !c.quota.Allow() {
		after := time.Duration(float64(time.Second) / float64(c.quota.Limit()))
		return &quotaError{batos.Errorf(batos.Limit, "the token %q has used up its %.0f requests a minute; try again in %v", c.Name, float64(c.quota.Limit())*60, max(time.Second, after.Round(time.Second))), after}
	}
	return nil
}

// Request completes a message with what the caller may: whose word it runs on,
// whether a missing method may be written for it, whether it may name private
// selectors. The owner speaks with a person's authority; who was given less
// than everything speaks with that of generated code, and so cannot write what
// is protected.
func (c *Caller) Request(r kernel.Request) kernel.Request {
	r.Sender, r.Authority = c.Name, batos.Persona
	if c.Has(Admin) {
		r.Authority = batos.Person
	}
	r.Underscore = c.Has(Admin)
	r.Synthesis = c.Has(Synthesize)
	return r
}

// Person is the caller as the image's history names it.
func (c *Caller) Person() kernel.Person { return kernel.Person{Name: c.Name} }

// GrantsFile is the name of the file of grants in the image folder.
const GrantsFile = "tokens.json"

// Keyring knows the tokens of one image. Safe for concurrent use.
type Keyring struct {
	file  string // "" keeps grants in memory only
	owner string
	who   *Caller

	mu     sync.Mutex
	grants []Grant
	live   map[string]*Caller // by hash
}

// Open reads the keyring of the image folder dir; owner is the owner's token
// and name what history calls him. A damaged file is invalid.
func Open(dir, owner, name string) (*Keyring, error) {
	k := &Keyring{file: filepath.Join(dir, GrantsFile), owner: owner, who: Owner(name), live: map[string]*Caller{}}
	b, err := os.ReadFile(k.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return k, nil
	case err != nil:
		return nil, batos.Errorf(batos.Denied, "the tokens cannot be read: %w", err)
	}
	if err := json.Unmarshal(b, &k.grants); err != nil {
		return nil, batos.Errorf(batos.Invalid, "%s is damaged: %w; remove it to take all tokens back", k.file, err)
	}
	for _, g := range k.grants {
		k.live[g.Hash] = g.caller()
	}
	return k, nil
}

func (g Grant) caller() *Caller {
	c := &Caller{Name: g.Name, scopes: g.Scopes}
	if g.PerMinute > 0 {
		c.quota = rate.NewLimiter(rate.Limit(float64(g.PerMinute)/60), max(1, g.PerMinute/6))
	}
	return c
}

// Caller recognises a token; denied if nobody was given it.
func (k *Keyring) Caller(token string) (*Caller, error) {
	if wire.SameToken(token, k.owner) {
		return k.who, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if c := k.live[hashOf(token)]; c != nil {
		return c, nil
	}
	return nil, batos.Errorf(batos.Denied, "%w; it is in the image folder, or in BATOS_TOKEN", errUnknown)
}

// hashOf is how tokens are kept. They are random, so a plain hash hides them,
// and looking one up tells nothing about others.
func hashOf(token string) string {
	h := sha256.Sum256([]byte(token))
	return hex.EncodeToString(h[:])
}

// Give makes a token with a new name. The token is told once, here.
func (k *Keyring) Give(name string, scopes []Scope, perMinute int) (token string, g Grant, err error) {
	if strings.TrimSpace(name) == "" || len(name) > 100 {
		return "", g, batos.Errorf(batos.Invalid, "a token needs a name of at most 100 characters")
	}
	if len(scopes) == 0 {
		return "", g, batos.Errorf(batos.Invalid, "a token needs scopes: %s", scopeList())
	}
	for _, s := range scopes {
		if !slices.Contains(Scopes, s) {
			return "", g, batos.Errorf(batos.Invalid, "%.40q is not a scope; there are %s", s, scopeList())
		}
	}
	if perMinute < 0 {
		return "", g, batos.Errorf(batos.Invalid, "a quota of %d requests a minute makes no sense", perMinute)
	}
	var b [32]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails (it aborts the program)
	token = hex.EncodeToString(b[:])
	g = Grant{Name: name, Hash: hashOf(token), Scopes: scopes, PerMinute: perMinute, Created: time.Now().UTC().Truncate(time.Second)}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.find(name) >= 0 {
		return "", g, batos.Errorf(batos.Conflict, "there is a token %q already; take it back first", name)
	}
	if err := k.save(append(slices.Clone(k.grants), g)); err != nil {
		return "", g, err
	}
	k.live[g.Hash] = g.caller()
	return token, g, nil
}

// TakeBack makes a token worthless from now on.
func (k *Keyring) TakeBack(name string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	i := k.find(name)
	if i < 0 {
		return batos.Errorf(batos.NotFound, "there is no token %.60q", name)
	}
	hash := k.grants[i].Hash
	if err := k.save(slices.Delete(slices.Clone(k.grants), i, i+1)); err != nil {
		return err
	}
	delete(k.live, hash)
	return nil
}

// Given lists the tokens that were given away, the oldest first.
func (k *Keyring) Given() []Grant {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.grants)
}

func (k *Keyring) find(name string) int {
	return slices.IndexFunc(k.grants, func(g Grant) bool { return g.Name == name })
}

// save writes the file whole before it takes its name; k.mu is held.
func (k *Keyring) save(grants []Grant) error {
	b, err := json.MarshalIndent(grants, "", "  ")
	if err != nil {
		return err
	}
	if err := wire.WriteSecret(k.file, string(b)); errors.Is(err, syscall.ENOSPC) {
		return batos.Errorf(batos.Limit, "the tokens cannot be written: the disk is full (%w); free some space and try again", err)
	} else if err != nil {
		return batos.Errorf(batos.Denied, "the tokens cannot be written: %w", err)
	}
	k.grants = grants
	return nil
}

func scopeList() string {
	s := make([]string, len(Scopes))
	for i, x := range Scopes {
		s[i] = string(x)
	}
	return strings.Join(s, ", ")
}
