package forge

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"batos"
	"batos/internal/ggml"
	"batos/internal/mind"
)

// Order is one training of an adapter on examples that a person or a persona
// has collected.
type Order struct {
	Model   string // GGUF file of the frozen model
	Library string // folder of the engine's libraries
	Data    string // file of examples, see [ReadLessons]
	Dir     string // folder of the checkpoints and of the result
	// Old is the adapter file in use now, which the new one begins from and is
	// to beat; "": the bare model. Its rank, alpha and targets are used then.
	Old string

	Rank    int      // 0: 16
	Alpha   float32  // 0: twice the rank
	Targets []string // empty: every matrix of a block
	Epochs  int      // times that an example is seen, about; 0: 3
	Steps   int      // instead of Epochs; 0: as many as these take
	LR      float32  // 0: 2e-4, for models of a billion weights and more; small ones want ten times as much
	Seed    uint64
	Threads int
	BF16    bool
	Name    string // of the adapter and its file, which becomes Name.gguf; "": adapter
	Meta    Meta   // of the adapter's file; its Name is not used
	Memory  int64  // most bytes that the training may take beside the process itself; 0: no bound
}

// Outcome is what came of an order.
type Outcome struct {
	File          string // the adapter, in Order.Dir
	Hash          string // SHA-256 of the file, hex
	Examples      int    // trained on
	HeldOut       int    // kept back to judge by
	TooLong       int    // left out: longer than a row
	Steps         int
	Before, After float64 // mean loss over the held-out examples, nats: of Order.Old or the bare model, and of the new adapter
	Better        bool    // After is less than Before
}

// Bounds of an order.
const (
	maxLessons     = 100_000
	maxLessonBytes = 64 << 10 // of one line
	minLessons     = 8
	maxRow         = 512 // positions
	heldOutShare   = 5   // one in so many
)

// ReadLessons reads a file of examples: one JSON object on each line, with the
// keys of [mind.Lesson] or with "instruction" for "prompt". The error is
// invalid and names the line.
func ReadLessons(r io.Reader) ([]mind.Lesson, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLessonBytes)
	var out []mind.Lesson
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		if len(out) == maxLessons {
			return nil, batos.Errorf(batos.Limit, "more than %d examples", maxLessons)
		}
		var p struct {
			mind.Lesson
			Instruction string `json:"instruction"`
		}
		if err := json.Unmarshal(line, &p); err != nil {
			return nil, batos.Errorf(batos.Invalid, "line %d: %w", n, err)
		}
		if p.Prompt == "" {
			p.Prompt = p.Instruction
		}
		if p.Prompt == "" && len(p.PromptTokens) == 0 || p.Response == "" && len(p.ResponseTokens) == 0 {
			return nil, batos.Errorf(batos.Invalid, `line %d: want "prompt" and "response"`, n)
		}
		out = append(out, p.Lesson)
	}
	if err := lines.Err(); err != nil {
		return nil, batos.Errorf(batos.Invalid, "line of more than %d bytes, or unreadable: %w", maxLessonBytes, err)
	}
	return out, nil
}

// pairs is a finite set of examples in tokens, gone through in epochs, each in
// an order of its own.
type pairs struct {
	seed   uint64
	tokens [][]int32
	from   []int // where the response begins

	epoch int
	order []int
}

func (p *pairs) Example(n int) ([]int32, []bool) {
	epoch := n / len(p.tokens)
	if p.order == nil || epoch != p.epoch {
		p.epoch, p.order = epoch, rand.New(rand.NewPCG(p.seed, uint64(epoch))).Perm(len(p.tokens))
	}
	i := p.order[n%len(p.tokens)]
	marks := make([]bool, len(p.tokens[i]))
	for k := p.from[i]; k < len(marks); k++ {
		marks[k] = true
	}
	return p.tokens[i], marks
}

func (p *pairs) add(tokens []int32, from int) {
	p.tokens, p.from = append(p.tokens, tokens), append(p.from, from)
}

// longest gives the most tokens of an example and all of them together.
func (p *pairs) longest() (most, all int) {
	for _, t := range p.tokens {
		most, all = max(most, len(t)), all+len(t)
	}
	return most, all
}

// split writes the examples in tokens and keeps back one in five to judge by:
// the same ones whatever else is in the file.
func split(m *ggml.Model, all []mind.Lesson, seed uint64) (train, held *pairs, tooLong int, err error) {
	train, held = &pairs{seed: seed}, &pairs{seed: seed}
	for i, p := range all {
		tokens, from, err := write(m, p)
		if err != nil {
			return nil, nil, 0, batos.Errorf(batos.Invalid, "example %d: %w", i+1, err)
		}
		if len(tokens) > maxRow || len(tokens) > m.ContextTrain() {
			tooLong++
			continue
		}
		h := fnv.New32a()
		_ = json.NewEncoder(h).Encode(p) // a hash takes everything
		if h.Sum32()%heldOutShare == 0 {
			held.add(tokens, from)
		} else {
			train.add(tokens, from)
		}
	}
	if len(train.tokens)+len(held.tokens) < minLessons || len(held.tokens) == 0 || len(train.tokens) == 0 {
		return nil, nil, 0, batos.Errorf(batos.Invalid, "%d usable examples are too few to train and to judge by; collect more", len(train.tokens)+len(held.tokens))
	}
	return train, held, tooLong, nil
}

// write gives an example's tokens, and where the response begins. It ends
// with the token that ends a generation. A prompt in words is put into the
// model's chat template, if it has one.
func write(m *ggml.Model, p mind.Lesson) ([]int32, int, error) {
	tokens := p.PromptTokens
	if len(tokens) == 0 {
		text := p.Prompt
		if m.ChatTemplate() != "" {
			var err error
			chat := []ggml.Turn{{Role: string(mind.User), Content: p.Prompt}}
			if p.System != "" {
				chat = append([]ggml.Turn{{Role: string(mind.System), Content: p.System}}, chat...)
			}
			if text, err = m.ApplyTemplate(chat); err != nil {
				return nil, 0, err
			}
		} else if p.System != "" {
			text = p.System + "\n\n" + text
		}
		ids, err := m.Tokenize(text, true, true)
		if err != nil {
			return nil, 0, err
		}
		tokens = plainTokens(ids)
	}
	out := append([]int32(nil), tokens...)
	from := len(out)
	if len(p.ResponseTokens) > 0 {
		out = append(out, p.ResponseTokens...)
	} else {
		ids, err := m.Tokenize(p.Response, false, false)
		if err != nil {
			return nil, 0, err
		}
		out = append(out, plainTokens(ids)...)
	}
	for _, t := range out {
		if t < 0 || int(t) >= m.VocabSize() {
			return nil, 0, batos.Errorf(batos.Invalid, "there is no token %d", t)
		}
	}
	end := m.EOT()
	if end < 0 {
		end = m.EOS()
	}
	if out[len(out)-1] != int32(end) {
		out = append(out, int32(end))
	}
	return out, from, nil
}

func plainTokens(ids []ggml.Token) []int32 {
	out := make([]int32, len(ids))
	for i, t := range ids {
		out[i] = int32(t)
	}
	return out
}

// config plans the training: rows that the longest example fits, steps of
// about 1,500 positions, or fewer if all examples are fewer.
func (o Order) config(train, held *pairs) AdapterConfig {
	most, all := train.longest()
	longest, _ := held.longest()
	row := (max(most, longest, 33) - 1 + 31) / 32 * 32
	batch := row * max(1, min(1536/row, (all+row-1)/row))
	steps := o.Steps
	if steps == 0 {
		steps = max(20, (max(o.Epochs, 1)*all+batch-1)/batch)
	}
	return AdapterConfig{
		Base: o.Model, Rank: o.Rank, Alpha: o.Alpha, Targets: o.Targets,
		Train: Config{
			Steps: steps, BatchTokens: batch, RowTokens: row, LR: o.LR, FinalLR: o.LR / 20, Warmup: steps / 15,
			Seed: o.Seed, Threads: o.Threads, BF16: o.BF16, CheckpointDir: o.Dir, CheckpointEvery: 20,
		},
	}
}

func (o Order) withDefaults() Order {
	if o.Name == "" {
		o.Name = "adapter"
	}
	o.Meta.Name = o.Name
	if o.Rank == 0 {
		o.Rank = 16
	}
	if o.Alpha == 0 {
		o.Alpha = 2 * float32(o.Rank)
	}
	if o.Epochs == 0 {
		o.Epochs = 3
	}
	if o.LR == 0 {
		o.LR = 2e-4
	}
	return o
}

// Fill carries an order out: it trains the adapter, from the checkpoint in Dir
// if there is one of the same order, writes its file, and judges it on the
// examples kept back. progress may be nil.
func (o Order) Fill(ctx context.Context, progress func(Progress)) (Outcome, error) {
	o = o.withDefaults()
	var out Outcome
	file, err := os.ReadFile(o.Data)
	if err != nil {
		return out, batos.Errorf(batos.NotFound, "examples: %w", err)
	}
	all, err := ReadLessons(bytes.NewReader(file))
	if err != nil {
		return out, batos.Errorf(batos.CodeOf(err), "%s: %w", o.Data, err)
	}
	lib, err := ggml.Load(o.Library)
	if err != nil {
		return out, err
	}
	m, err := lib.LoadModel(o.Model, ggml.ModelOptions{})
	if err != nil {
		return out, err
	}
	train, held, tooLong, err := split(m, all, o.Seed)
	if closed := m.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return out, err
	}
	c := o.config(train, held)
	seen := sha256.Sum256(file)
	c.Train.Seed ^= le.Uint64(seen[:]) // a checkpoint of other examples is one of another run
	out.Examples, out.HeldOut, out.TooLong, out.Steps = len(train.tokens), len(held.tokens), tooLong, c.Train.Steps
	old, err := o.old()
	if err != nil {
		return out, err
	}
	judge := c
	judge.Train.CheckpointDir, judge.Train.HeadTokens = "", 0
	if out.Before, err = Loss(ctx, lib, judge, old, held, len(held.tokens)); err != nil {
		return out, err
	}
	c.Start = old
	a, err := TrainAdapter(ctx, lib, c, train, progress)
	if err != nil {
		return out, err
	}
	if out.After, err = Loss(ctx, lib, judge, a, held, len(held.tokens)); err != nil {
		return out, err
	}
	out.Better = out.After < out.Before
	var b bytes.Buffer
	if err := WriteAdapter(&b, a, o.Meta); err != nil {
		return out, err
	}
	sum, name := sha256.Sum256(b.Bytes()), o.Name+".gguf"
	out.Hash, out.File = hex.EncodeToString(sum[:]), filepath.Join(o.Dir, name)
	if err := writeFile(o.Dir, name, b.Bytes()); err != nil {
		return out, batos.Errorf(batos.Invalid, "adapter file: %w", err)
	}
	return out, nil
}

func (o Order) old() (*Adapter, error) {
	if o.Old == "" {
		return nil, nil
	}
	b, err := os.ReadFile(o.Old)
	if err != nil {
		return nil, batos.Errorf(batos.NotFound, "the adapter in use: %w", err)
	}
	a, err := ReadAdapter(b)
	if err != nil {
		return nil, batos.Errorf(batos.Invalid, "%s: %w", strings.TrimSpace(o.Old), err)
	}
	return a, nil
}
