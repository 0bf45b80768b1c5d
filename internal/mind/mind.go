// Package mind says what a language model is to the rest of the system: an
// [Engine] turns a [Request] into a [Result], and a [Profile] turns a [Task]
// of the kernel into a Request and the Result back into an [Answer].
//
// Read in this order: [Engine] and [Info]; [Request], [Turn] and [Result];
// [Task] with [Shape], what a profile is told about the work; [Profile],
// [Attempt] and [Answer]; [Covenant], the profile for any chat model; the
// profile of the shipped seed model in the files named seed_*.go; [Offline],
// the engine of a system without a model; [ChatPrompt], the fall-back for
// chat templates; [Grammar] and [SchemaGrammar], how an engine is held to a
// form. Engines themselves live one floor up: the local one in
// internal/mind/llama, scripted ones for tests in internal/mind/mindtest.
//
// An Engine knows nothing of methods, objects or the Covenant; a Profile knows
// nothing of processes, libraries or networks. The kernel joins the two.
package mind

import (
	"context"
	"time"

	"batos"
)

// Engine generates text with one model. Implementations are safe for
// concurrent use and serve requests first in, first out, several side by side
// where they can. What else an engine may be able to do is in capability.go:
// [Streamer], [Embedder], [AdapterHost].
//
// Errors are [*batos.Error]s: offline (there is no model, or it cannot be
// brought up), invalid (the request cannot be served as written: too long for
// the context, a broken grammar, an unknown adapter), timeout and cancelled
// (the context ended: generation has really stopped), busy (the queue is full).
type Engine interface {
	// Info describes the model; it brings the engine up if need be.
	Info(ctx context.Context) (Info, error)
	// Generate answers one request. The same Request on the same model and
	// adapter gives the same Result (apart from Duration) whatever was asked
	// in between.
	Generate(ctx context.Context, r Request) (*Result, error)
	// CountTokens says how many tokens the model makes of text, special
	// tokens spelled out in it included and none added.
	CountTokens(ctx context.Context, text string) (int, error)
	// Close stops the engine; requests under way end as cancelled.
	Close() error
}

// Info describes the model that an engine serves.
type Info struct {
	ModelID       string // general.name, else the file's name
	Hash          string // SHA-256 of the model's bytes, hex; "" where the engine cannot know it
	Architecture  string // general.architecture: "llama", …
	ContextTokens int    // prompt and answer together, as the engine was opened
	Profile       string // which [Profile] fits: the model's own batos.profile, else "covenant"
	ChatTemplate  string // Jinja source as the model carries it, or ""
	VocabSize     int
	Params        uint64 // number of weights
	Bytes         int64  // size of the weights as stored
	EmbedsOnly    bool   // the model makes vectors of texts and writes none
	// Meta holds the model's other string keys that begin with "batos."
	// (tokenizer tables of a profile, corpus hash), without that prefix.
	Meta map[string]string
}

// Request asks for one completion. Exactly one of Text, Tokens and Chat is set.
type Request struct {
	Adapter string  // content hash of a loaded LoRA adapter, see [AdapterHost]; "" is the base model
	Text    string  // a raw prompt; special tokens spelled out in it are recognised
	Tokens  []int32 // a prompt already in tokens
	Gloss   string  // what Tokens say, for people and for provenance; engines ignore it
	Chat    []Turn  // a conversation; the engine applies the model's chat template
	// Again are prompts in tokens that mean the same as Tokens: a model that
	// answers them otherwise guessed. Engines ignore them; [Ask] asks them.
	Again [][]int32
	// Draws is how many answers to Tokens [Ask] draws from the model's own
	// distribution after those, unless the first answer is as good as certain;
	// engines ignore it.
	Draws      int
	Grammar    string // GBNF with a rule named root that the answer must match; "" is none
	Schema     string // JSON schema, of the kind [SchemaGrammar] takes, that the answer must be valid under; not beside Grammar
	Stop       []string
	StopTokens []int32 // beside the model's own end-of-generation tokens

	MaxTokens   int     // of the answer; 0 is what the context leaves
	Temperature float32 // 0 is greedy
	TopP        float32 // 0 or 1 is off
	Seed        uint64  // the only source of randomness
}

// Role says who speaks in a [Turn].
type Role string

const (
	System    Role = "system"
	User      Role = "user"
	Assistant Role = "assistant"
)

// Turn is one message of a conversation.
type Turn struct {
	Role Role
	Text string
}

// Stop says why a generation ended.
type Stop string

const (
	StopEnd    Stop = "stop"   // an end-of-generation token, a stop token or a stop string
	StopLength Stop = "length" // MaxTokens, or the context was full
)

// Result is a finished generation.
type Result struct {
	Text string // without the stop string or stop token that ended it
	// Tokens are as chosen, the ending token left out. A remote server may
	// not name them: then each is -1.
	Tokens []int32
	// Logprobs has one entry for each of Tokens: the natural logarithm of its
	// probability in the model's own distribution, before grammar,
	// temperature and top-p. A remote server may tell none: then it is empty.
	Logprobs []float32
	// Loose says that the answer is not of the form that Grammar or Schema
	// asked for: a remote server could not be held to it.
	Loose        bool
	PromptTokens int
	CachedTokens int // how much of the prompt needed no work
	Stop         Stop
	Model        string // Info.Hash of the model that answered
	AdapterHash  string // Request.Adapter as it was active
	Duration     time.Duration
	Again        []Result // the answers to Request.Again and then the drawn ones, if [Ask] asked
}

// Kind names what a mission's state wants of the mind.
type Kind string

const (
	Method       Kind = "method"       // source of one method
	Plan         Kind = "plan"         // JSON plan of facets
	Requirements Kind = "requirements" // what a display must show, JSON
	Describe     Kind = "describe"     // one sentence about an object or method
	Layout       Kind = "layout"       // JSON layout tree of a display
	Tests        Kind = "tests"        // example calls with expected results, JSON
	Reply        Kind = "answer"       // an answer to a question, text
)

// Task is one piece of work for a mind, told in facts. Values never appear
// except in Example, which profiles of small models ignore.
type Task struct {
	Kind     Kind
	Selector batos.Selector
	Args     []Shape      // positional arguments of the message
	Kwargs   []NamedShape // named arguments of the message, in order
	Slots    []NamedShape // the receiver's data slots, its own before inherited ones
	Intent   string       // what the sender wrote about the purpose, or ""
	Receiver string       // the receiver's name
	Methods  []string     // selectors that the receiver understands
	Example  string       // JSON of the receiver's slots, for models that profit from it
	// Findings is what other states of the mission brought: a plan,
	// requirements, passages of the catalog.
	Findings string
	// Rules is what the Persona Codex tells models of this profile that speak
	// in words; Grammar names what the answer is to be held to. Profiles with
	// a form of their own ignore both.
	Rules, Grammar string
}

// ShapeKind is the type of a value as a model is told it.
type ShapeKind string

const (
	IntShape   ShapeKind = "int"
	FloatShape ShapeKind = "float"
	StrShape   ShapeKind = "str"
	BoolShape  ShapeKind = "bool"
	ListShape  ShapeKind = "list"
	DictShape  ShapeKind = "dict"
	ObjShape   ShapeKind = "obj"
	NoneShape  ShapeKind = "none"
	AnyShape   ShapeKind = "any"
)

// Shape is the type of a value, without the value.
type Shape struct {
	Kind   ShapeKind
	Elem   *Shape       // of a list: what its items have in common; of a dict used as a map: its values
	Fields []NamedShape // of a dict used as a record: its string keys, in order
}

// NamedShape is a slot, field or named argument and its type.
type NamedShape struct {
	Name  string
	Shape Shape
}

// SlotShape is the [NamedShape] of a slot or of a record's field.
type SlotShape = NamedShape

// Attempt is an earlier answer to the same task and why it was turned down.
type Attempt struct {
	Number int // from 1
	Source string
	Error  string
}

// Profile knows how one family of models is spoken to. Profiles are immutable
// and safe for concurrent use; both methods are pure.
type Profile interface {
	Name() string
	// Serves reports whether the family can do this kind of work. The kernel
	// never asks for the rest.
	Serves(kind Kind) bool
	// Compose writes the request. The error is refused, with the words or
	// shapes that are beyond the model, when the profile knows that the model
	// cannot do it.
	Compose(t Task, earlier []Attempt) (Request, error)
	// Read makes an answer of what the model wrote to the request that Compose
	// made of the same task and attempts. The error is refused when
	// the model was too unsure of it, which is its last word, and invalid when
	// there is no usable answer (prose, a cut method) and another attempt may
	// help. The Answer holds what there is beside an error too.
	Read(t Task, earlier []Attempt, r *Result) (Answer, error)
}

// Answer is what a mind contributes to a mission.
type Answer struct {
	Source string // a method's full source, or the JSON or text that the task asked for
	// Doubt is why a person should look at the answer before it is installed,
	// in a few words; "" if there is no reason.
	Doubt      string
	Confidence float64 // 0 to 1: geometric mean of the token probabilities, or the profile's own measure
	Notes      string  // what the profile did to get here, for the provenance; may be ""
}
