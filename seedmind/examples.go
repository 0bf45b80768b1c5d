package seedmind

import (
	"math/rand/v2"

	"batos/internal/mind"
)

// Examples gives the training examples in tokens, as the trainer takes them.
type Examples struct {
	gen *Generator
	tok *mind.SeedTokenizer
	max int // longest example, in tokens
}

// NewExamples makes the source of a training run.
func NewExamples(c *Corpus, tok *mind.SeedTokenizer, seed uint64, longest int) *Examples {
	return &Examples{gen: NewGenerator(c, seed), tok: tok, max: longest}
}

// Example gives the n-th example: its prompt, and its answer marked as what
// the model learns. One that is too long is replaced by another of its own.
func (e *Examples) Example(n int) (tokens []int32, supervised []bool) {
	return e.draw(n, e.gen.draw)
}

func (e *Examples) draw(n int, sample func(*rand.Rand) Sample) (tokens []int32, supervised []bool) {
	for try := 0; ; try++ {
		r := rand.New(rand.NewPCG(e.gen.seed^uint64(try)<<40, uint64(n)))
		prompt, answer, err := Tokens(e.tok, sample(r))
		if err != nil || len(prompt)+len(answer) > e.max {
			continue
		}
		return marked(prompt, answer)
	}
}

// marked joins prompt and answer, and marks the answer as what is learned.
func marked(prompt, answer []int32) (tokens []int32, supervised []bool) {
	tokens = append(prompt, answer...)
	supervised = make([]bool, len(tokens))
	for i := len(prompt); i < len(tokens); i++ {
		supervised[i] = true
	}
	return tokens, supervised
}

// Tokens writes a sample in tokens.
func Tokens(tok *mind.SeedTokenizer, s Sample) (prompt, answer []int32, err error) {
	mark, err := tok.TaskMark(s.Kind)
	if err != nil {
		return nil, nil, err
	}
	prompt = append([]int32{mark}, tok.Encode(s.Prompt.Text())...)
	if s.Refuse {
		return prompt, []int32{mind.SeedRefuse, mind.SeedEnd}, nil
	}
	return prompt, append(tok.Encode(s.Answer), mind.SeedEnd), nil
}
