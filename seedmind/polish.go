package seedmind

// Polished gives the same source with the core families and the layouts of
// whole objects in front, as the second part of the training wants it.
// longest is the longest example, in tokens.
func (e *Examples) Polished(p Polish, longest int) *Examples {
	gen := *e.gen
	gen.families = append([]*Family(nil), e.gen.families...)
	for _, f := range e.gen.c.Core() {
		times := p.Core
		if f.all != nil {
			times = p.Layouts
		}
		for range times {
			gen.families = append(gen.families, f)
		}
	}
	gen.seed = e.gen.seed + 1
	return &Examples{gen: &gen, tok: e.tok, max: longest}
}
