package llama

import (
	"fmt"
	"strings"

	"batos"
	"batos/internal/ggml"
	"batos/internal/mind"
)

// chat renders a conversation by the model's own template and makes tokens of
// it. Only the template's parts may become control tokens: what a turn says is
// tokenized as plain text, so that no text can end its own turn or begin one
// of another role. A tokenizer that puts a space before every text puts one
// before each turn too; the models that have such tokenizers do not mind.
func (s *session) chat(turns []mind.Turn) (toks []ggml.Token, head int, err error) {
	marked := make([]ggml.Turn, len(turns))
	for i, t := range turns {
		switch t.Role {
		case mind.System, mind.User, mind.Assistant:
		default:
			return nil, 0, batos.Errorf(batos.Invalid, "a turn of a chat has the unknown role %.40q", t.Role)
		}
		marked[i] = ggml.Turn{Role: string(t.Role), Content: mark(i)}
	}
	rendered, err := s.model.ApplyTemplate(marked)
	if err != nil {
		rendered = s.plain(marked)
	}
	piece := func(text string, control bool) error {
		if text == "" {
			return nil
		}
		p, err := s.model.Tokenize(text, false, control)
		toks = append(toks, p...)
		return err
	}
	for i, t := range turns {
		before, after, found := strings.Cut(rendered, mark(i))
		if !found {
			return nil, 0, batos.Errorf(batos.Invalid, "the model's chat template drops the %s turn", t.Role)
		}
		if err := piece(before, true); err != nil {
			return nil, 0, err
		}
		if i > 0 && turns[i-1].Role == mind.System && t.Role != mind.System && head == 0 {
			head = len(toks)
		}
		if err := piece(t.Text, false); err != nil {
			return nil, 0, err
		}
		rendered = after
	}
	err = piece(rendered, true)
	bare := len(toks)
	toks = s.begin(toks)
	if head > 0 {
		head += len(toks) - bare
	}
	return toks, head, err
}

// mark stands for the text of turn i while the template is applied. Templates
// trim white space and change nothing else.
func mark(i int) string { return fmt.Sprintf("\uE000%d\uE001", i) }

// plain is the form for a model whose template is missing or unknown: ChatML
// if the vocabulary has its marks, else names and colons.
func (s *session) plain(turns []ggml.Turn) string {
	var b strings.Builder
	if toks, err := s.model.Tokenize("<|im_start|>", false, true); err == nil && len(toks) == 1 {
		for _, t := range turns {
			b.WriteString("<|im_start|>" + t.Role + "\n" + t.Content + "<|im_end|>\n")
		}
		b.WriteString("<|im_start|>assistant\n")
		return b.String()
	}
	for _, t := range turns {
		b.WriteString(strings.ToUpper(t.Role[:1]) + t.Role[1:] + ": " + t.Content + "\n\n")
	}
	b.WriteString("Assistant:")
	return b.String()
}
