package mind

import (
	_ "embed"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
)

// An idea of the model is weighed by all that is known of it at once: how
// probable it was in each way of asking, whether people use the message's words
// for it, and what the nearest phrases ask for. The weights are those of a
// logistic regression, so that what comes of them is the share of right methods
// among ideas that look like this one; `seedmind calibrate` finds them on
// messages that are used for nothing else, and proves them on others.

// SeedFeatures is what an idea is weighed by, in the order of
// [SeedFeatureNames].
type SeedFeatures [seedFeatures]float64

const (
	byBias    = iota // 1
	byOwn            // log-odds of its probability as the answer to the message as it is, as far as answers show it
	byDrawn          // share of the drawn answers that it is
	byRefused        // share of the askings in which the model refused
	byNearest        // 1 if the nearest phrase asks for it
	byStrange        // 1 if nobody uses a word of the message for it
	byNovel          // 1 if the model was taught no such method
	byLeft           // 1 if it makes no use of something that the message names
	seedFeatures
)

// SeedFeatureNames names the features, as the file of weights has them.
var SeedFeatureNames = [seedFeatures]string{"bias", "own", "drawn", "refused", "nearest", "strange", "novel", "left"}

// SeedWeights make a confidence of features.
type SeedWeights struct {
	Of SeedFeatures
	// Least is the confidence below which an idea is refused, Sure that from
	// which on it needs no person.
	Least, Sure float64
}

// Confidence is the share of right methods among ideas with these features.
func (w *SeedWeights) Confidence(f *SeedFeatures) float64 {
	z := 0.0
	for i := range f {
		z += f[i] * w.Of[i]
	}
	return 1 / (1 + math.Exp(-z))
}

//go:embed seed_weights.txt
var seedWeightsText string

var shippedWeights = sync.OnceValue(func() SeedWeights {
	w, err := ReadSeedWeights(seedWeightsText)
	if err != nil {
		panic(err) // it is part of the program
	}
	return w
})

// ReadSeedWeights reads the file of weights: a name and a number on each line,
// # begins a remark.
func ReadSeedWeights(text string) (SeedWeights, error) {
	var w SeedWeights
	names := map[string]*float64{"refused_below": &w.Least, "sure_from": &w.Sure}
	for i, name := range SeedFeatureNames {
		names[name] = &w.Of[i]
	}
	seen := 0
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0][0] == '#' {
			continue
		}
		to := names[f[0]]
		if to == nil || len(f) != 2 {
			return w, fmt.Errorf("seed weights: %q is not a known name and a number", strings.TrimSpace(line))
		}
		v, err := strconv.ParseFloat(f[1], 64)
		if err != nil {
			return w, fmt.Errorf("seed weights: %s: %w", f[0], err)
		}
		*to = v
		seen++
	}
	if seen != len(names) {
		return w, fmt.Errorf("seed weights: %d of %d names", seen, len(names))
	}
	return w, nil
}

// Text is the file of weights.
func (w *SeedWeights) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "refused_below %g\nsure_from %g\n", w.Least, w.Sure)
	for i, name := range SeedFeatureNames {
		fmt.Fprintf(&b, "%s %.3f\n", name, w.Of[i])
	}
	return b.String()
}

// logOdds of a probability, bounded.
func logOdds(p float64) float64 { return math.Log((p + 0.01) / (1.01 - p)) }

// SeedIdea is a method that the model wrote, with what it is weighed by.
type SeedIdea struct {
	Source   string
	Features SeedFeatures
}

// Ideas lists what the model wrote to the first attempt's request, unweighed,
// for calibration. It has none if the model does not know what the words mean.
func (s Seed) Ideas(t Task, r *Result) ([]SeedIdea, error) {
	n, err := s.names(t)
	if err != nil {
		return nil, err
	}
	e, ideas, _ := s.ideas(n, t.Selector, r) // the error says that the first answer is no idea
	s.weigh(&e, ideas)
	var out []SeedIdea
	for _, c := range ideas {
		source, err := n.source(t.Selector, c.body)
		if err != nil {
			return nil, err
		}
		out = append(out, SeedIdea{source, c.features})
	}
	return out, nil
}
