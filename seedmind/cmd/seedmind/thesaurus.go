package main

import (
	"bufio"
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"batos"
	"batos/seedmind"
)

// thesaurusFile is the table that the seed profile reads messages in other
// words by.
const thesaurusFile = "internal/mind/thesaurus.txt"

// thesaurus makes that table of WordNet's database files: for each common word,
// the words of the corpus that share a sense with it, the commonest first.
func thesaurus(_ context.Context, args []string) error {
	dir := "/usr/share/wordnet"
	if err := flags("thesaurus", args, func(f *flag.FlagSet) {
		f.StringVar(&dir, "wordnet", dir, "folder of WordNet 3.0's database (Debian: wordnet-base)")
	}); err != nil {
		return err
	}
	c, err := seedmind.Load()
	if err != nil {
		return err
	}
	w := &wordnet{dir: dir, known: map[string]bool{}, synsets: map[string]synset{}, tags: map[string]int{}}
	for _, word := range c.Tables().Words {
		w.known[word] = true
	}
	near, err := w.near()
	if err != nil {
		return batos.Errorf(batos.NotFound, "WordNet's database in %s: %w", dir, err)
	}
	old, err := os.ReadFile(thesaurusFile)
	if err != nil {
		return err
	}
	var b strings.Builder
	for line := range strings.Lines(string(old)) {
		if !strings.HasPrefix(line, "#") {
			break
		}
		b.WriteString(line)
	}
	for _, word := range slices.Sorted(maps.Keys(near)) {
		b.WriteString(word + " " + strings.Join(near[word], " ") + "\n")
	}
	if err := os.WriteFile(thesaurusFile, []byte(b.String()), 0o644); err != nil {
		return err
	}
	fmt.Printf("%s: %d words, %d bytes\n", thesaurusFile, len(near), b.Len())
	return nil
}

// A synset is a sense: the words that have it and, by number, wider senses
// (of verbs) and similar ones (of adjectives).
type synset struct{ words, wider, similar []string }

// wordnet reads the database; its files are described in wndb(5WN).
type wordnet struct {
	dir     string
	known   map[string]bool
	synsets map[string]synset // by part of speech and offset
	tags    map[string]int    // how often a word was met in tagged text
}

var parts = []struct {
	name, letters string
	weight        float64 // how likely a word of a selector is one
}{{"verb", "v", 3}, {"adj", "as", 2}, {"adv", "r", 2}, {"noun", "n", 1}}

var plainWord = regexp.MustCompile(`^[a-z]{3,12}$`)

const (
	sensesRead  = 4 // of a word, the commonest
	nearestKept = 6
	widerWorth  = 1.0
	alikeWorth  = 0.8
)

// near gives for each common word the corpus's words that are near to it.
func (w *wordnet) near() (map[string][]string, error) {
	for _, p := range parts {
		if err := w.lines("data."+p.name, func(f []string) { w.synset(p.name, f) }); err != nil {
			return nil, err
		}
	}
	if err := w.lines("cntlist.rev", func(f []string) {
		word, _, _ := strings.Cut(f[0], "%")
		n, _ := strconv.Atoi(f[2])
		w.tags[word] += n
	}); err != nil {
		return nil, err
	}
	scores := map[string]map[string]float64{}
	for _, p := range parts {
		if err := w.lines("index."+p.name, func(f []string) {
			word := f[0]
			if !plainWord.MatchString(word) || !w.known[word] && w.tags[word] == 0 {
				return
			}
			pointers, _ := strconv.Atoi(f[3])
			senses := f[4+pointers+2:]
			for rank, offset := range senses[:min(len(senses), sensesRead)] {
				s := w.synsets[p.name+offset]
				add := func(words []string, worth float64) {
					for _, other := range words {
						if w.known[other] && other != word {
							if scores[word] == nil {
								scores[word] = map[string]float64{}
							}
							scores[word][other] += worth / float64(1+rank)
						}
					}
				}
				add(s.words, p.weight)
				for _, o := range s.wider {
					add(w.synsets[o].words, widerWorth)
				}
				for _, o := range s.similar {
					add(w.synsets[o].words, alikeWorth)
				}
			}
		}); err != nil {
			return nil, err
		}
	}
	out := map[string][]string{}
	for word, near := range scores {
		words := slices.SortedFunc(maps.Keys(near), func(a, b string) int {
			return cmp.Or(cmp.Compare(near[b], near[a]), cmp.Compare(a, b))
		})
		out[word] = words[:min(len(words), nearestKept)]
	}
	return out, nil
}

// synset reads a line of a data file: offset, file, kind, number of words (hex),
// words, number of pointers, pointers of four fields.
func (w *wordnet) synset(part string, f []string) {
	n, _ := strconv.ParseInt(f[3], 16, 32)
	var s synset
	for i := range int(n) {
		word, _, _ := strings.Cut(f[4+2*i], "(")
		s.words = append(s.words, strings.ToLower(word))
	}
	at := 4 + 2*int(n)
	pointers, _ := strconv.Atoi(f[at])
	for i := range pointers {
		p := f[at+1+4*i:]
		for _, other := range parts {
			if !strings.Contains(other.letters, p[2]) {
				continue
			}
			switch {
			case p[0] == "@" && part == "verb":
				s.wider = append(s.wider, other.name+p[1])
			case p[0] == "&" && part == "adj":
				s.similar = append(s.similar, other.name+p[1])
			}
		}
	}
	w.synsets[part+f[0]] = s
}

// lines calls read with the fields of each line that is no licence text.
func (w *wordnet) lines(name string, read func([]string)) error {
	f, err := os.Open(filepath.Join(w.dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		line, _, _ := strings.Cut(s.Text(), " | ")
		if !strings.HasPrefix(line, " ") {
			read(strings.Fields(line))
		}
	}
	return s.Err()
}
