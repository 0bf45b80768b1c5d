package seedmind

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Describe prints the corpus in figures. Crossings of the grid and layouts by
// type of slot are counted apart: they are generated.
func (c *Corpus) Describe(w io.Writer) {
	byArea := map[string]int{}
	cells, layouts, phrases := 0, 0, 0
	for _, f := range c.Families {
		switch {
		case f.cell:
			cells++
		case strings.HasPrefix(f.Name, "layout_one_") || strings.HasPrefix(f.Name, "layout_two_"):
			layouts++
		default:
			byArea[f.Area]++
		}
		for _, l := range f.Lines {
			phrases += l.size()
		}
	}
	var areas []string
	written := 0
	for a, n := range byArea {
		areas = append(areas, fmt.Sprintf("%s %d", a, n))
		written += n
	}
	slices.Sort(areas)
	fmt.Fprintf(w, "corpus %s\n%d families (%s), %d crossings of aggregate, container and filter, %d layouts by type of slot\n",
		c.Hash, written, strings.Join(areas, ", "), cells, layouts)
	fmt.Fprintf(w, "%d phrases of %d words, meaning something in %d ways (%d taken by an earlier family), %d nouns that may be dropped\n",
		phrases, len(c.words), len(c.claims), c.dropped, len(c.Things))
}
