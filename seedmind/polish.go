package seedmind

// Polished gives the same source with the core families and the layouts of
// whole objects in front, as the n-th polish of the training wants it, from 1.
// longest is the longest example, in tokens.
func (e *Examples) Polished(n int, p Polish, longest int) *Examples {
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
	for _, f := range e.gen.c.common() {
		for range p.Common {
			gen.families = append(gen.families, f)
		}
	}
	gen.seed = e.gen.seed + uint64(n)
	return &Examples{gen: &gen, tok: e.tok, max: longest}
}

// commonPerArea says which families are common: those that stand first in the
// file of their area, where the most ordinary messages are.
const commonPerArea = 20

func (c *Corpus) common() []*Family {
	var out []*Family
	count := map[string]int{}
	for _, f := range c.Families {
		if f.cell || f.all != nil || f.Area == "layouts" || count[f.Area] >= commonPerArea {
			continue
		}
		count[f.Area]++
		out = append(out, f)
	}
	return out
}
