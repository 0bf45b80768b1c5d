package seedmind

import "fmt"

// Recipe is everything that, together with the corpus, decides the weights.
type Recipe struct {
	Seed                     uint64 // of the weights and of the examples
	Layers, Dim, Heads, FF   int
	Context                  int // tokens
	Steps                    int
	BatchTokens, RowTokens   int // positions of a step, and of one packed row
	HeadTokens               int // most supervised positions of a step
	LR, FinalLR, WeightDecay float32
	Warmup                   int  // steps
	BF16                     bool // multiply in BF16
	Polish                   []Polish
}

// Polish is a later part of the training: it goes on from the weights of the
// part before with longer rows, so that the layouts of objects with many slots
// fit into one, and with the core of the corpus in front. Each part draws its
// own examples, and its rate rises and falls anew.
type Polish struct {
	Name                         string // of the folder with its checkpoint
	Steps, RowTokens, HeadTokens int
	LR, FinalLR                  float32
	Warmup                       int
	Core, Common, Layouts        int // how much more often these families come
}

// Standard is the recipe of the shipped weights.
func Standard() Recipe {
	return Recipe{
		Seed: 7, Layers: 4, Dim: 192, Heads: 6, FF: 512, Context: 256,
		Steps: 6000, BatchTokens: 1536, RowTokens: 96, HeadTokens: 768,
		LR: 2.5e-3, FinalLR: 2.5e-3, WeightDecay: 0.05, Warmup: 150, BF16: true,
		Polish: []Polish{
			{Name: "polish", Steps: 12500, RowTokens: 192, HeadTokens: 768, LR: 2.5e-3, FinalLR: 2e-5, Warmup: 100, Core: 6, Common: 4, Layouts: 20},
			{Name: "settle", Steps: 26000, RowTokens: 192, HeadTokens: 768, LR: 1.6e-3, FinalLR: 1e-5, Warmup: 100, Core: 6, Common: 4, Layouts: 20},
		},
	}
}

func (r Recipe) String() string {
	type plain Recipe
	return fmt.Sprintf("%+v", plain(r))
}
