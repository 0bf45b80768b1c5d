package main

import (
	"errors"

	"batos/internal/ggml"
)

// answer computes the likeliest tokens after a prompt with an adapter in
// force, by the library alone.
func (b *bare) answer(file []byte, prompt []int32, n int) ([]int32, error) {
	a, err := b.m.LoadAdapter(file)
	if err != nil {
		return nil, err
	}
	err = b.c.SetAdapters([]ggml.Scaled{{Adapter: a, Scale: 1}})
	var out []int32
	if err == nil {
		out, err = b.likeliest(prompt, n)
	}
	return out, errors.Join(err, b.c.SetAdapters(nil), a.Close())
}

func (b *bare) likeliest(prompt []int32, n int) ([]int32, error) {
	s, err := b.m.NewSampler(ggml.SamplerOptions{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	b.c.Clear()
	var items []ggml.Item
	for i, t := range prompt {
		items = append(items, ggml.Item{Token: ggml.Token(t), Pos: i, Output: i == len(prompt)-1})
	}
	var out []int32
	for {
		if err := b.c.Decode(items); err != nil {
			return nil, err
		}
		t, err := s.Sample(b.c, -1)
		if err != nil || b.m.IsEOG(t) {
			return out, err
		}
		if out = append(out, int32(t)); len(out) == n {
			return out, nil
		}
		items = []ggml.Item{{Token: t, Pos: len(prompt) + len(out) - 1, Output: true}}
	}
}
