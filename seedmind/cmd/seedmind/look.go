package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"

	"batos"
	"batos/internal/mind"
	"batos/seedmind"
)

// corpus prints the corpus in figures, or examples of it.
func corpus(_ context.Context, args []string) error {
	n, family := 0, ""
	if err := flags("corpus", args, func(f *flag.FlagSet) {
		f.IntVar(&n, "n", n, "examples to print")
		f.StringVar(&family, "family", family, "only of this family")
	}); err != nil {
		return err
	}
	c, err := seedmind.Load()
	if err != nil {
		return err
	}
	c.Describe(os.Stdout)
	g := seedmind.NewGenerator(c, seedmind.Standard().Seed)
	for i := 0; n > 0; i++ {
		s := g.Sample(i)
		if family != "" && (s.Meaning.Family == nil || s.Meaning.Family.Name != family) {
			if i > 2_000_000 {
				return batos.Errorf(batos.NotFound, "no example of %s", family)
			}
			continue
		}
		answer := s.Answer
		if s.Refuse {
			answer = "(refuses)"
		}
		fmt.Printf("--- %s\n%s%s\n", s.Kind, s.Prompt.Text(), answer)
		n--
	}
	return nil
}

// ask prints what the model writes for one message.
func ask(ctx context.Context, args []string) error {
	var m modelFlags
	var text string
	if err := flags("ask", args, func(f *flag.FlagSet) {
		m.define(f)
		f.Usage = func() {
			fmt.Fprintln(f.Output(), `usage: seedmind ask [-model FILE] '{"slots": {"count": 3}, "selector": "increment_by", "args": [4]}'`)
			f.PrintDefaults()
		}
	}); err != nil {
		return err
	}
	if len(args) > 0 {
		text = args[len(args)-1]
	}
	cases, err := seedmind.ReadCases(strings.NewReader(text))
	if err != nil {
		return err
	}
	if len(cases) != 1 {
		return batos.Errorf(batos.Invalid, "ask takes one message as JSON")
	}
	engine, profile, err := m.open(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	task := cases[0].Task()
	prompt, err := profile.Prompt(task)
	if err != nil {
		return err
	}
	fmt.Print(prompt.Text())
	request, err := profile.Compose(task, nil)
	if err != nil {
		return err
	}
	result, err := mind.Ask(ctx, engine, request)
	if err != nil {
		return err
	}
	answer, err := profile.Read(task, nil, result)
	if err != nil {
		return err
	}
	fmt.Printf("%s(%.0f %% sure, %d tokens, %s)\n", answer.Source, 100*answer.Confidence, result.Written(), result.Duration)
	if answer.Doubt != "" {
		fmt.Println("a person must approve it:", answer.Doubt)
	}
	return nil
}
