// Command bench measures what the project promises and prints each figure as
// one line, beside a limit or peer measured in the same run:
//
//	bench name=… value=… unit=… against=… ratio=… bar=… ok|short
//
// The same goes as JSON lines to bench/results.jsonl. -only REGEXP runs some.
// docs/performance.md says what each figure means.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/pprof"

	"batos/internal/kernel"
	"batos/internal/mind/llama"
	"batos/internal/quarantine"
)

// Figure is one measured number. A Bar of zero has no bar: the figure is
// printed for people. Of Ratio and Value the one that Bar is about is the
// ratio if Against is set, else the value.
type Figure struct {
	Name    string  `json:"name"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
	Against float64 `json:"against,omitempty"` // the limit, in the same unit
	Ratio   float64 `json:"ratio,omitempty"`
	Bar     float64 `json:"bar,omitempty"`
	AtMost  bool    `json:"at_most,omitempty"` // the bar is an upper one
	OK      bool    `json:"ok"`
}

func (f *Figure) judge() {
	subject := f.Value
	if f.Against != 0 {
		f.Ratio = f.Value / f.Against
		subject = f.Ratio
	}
	switch {
	case f.Bar == 0:
		f.OK = true
	case f.AtMost:
		f.OK = subject <= f.Bar
	default:
		f.OK = subject >= f.Bar
	}
}

func (f Figure) String() string {
	word := "ok"
	if !f.OK {
		word = "short"
	}
	bar := "-"
	if f.Bar != 0 {
		sign := ">="
		if f.AtMost {
			sign = "<="
		}
		bar = fmt.Sprintf("%s%.3g", sign, f.Bar)
	}
	against, ratio := "-", "-"
	if f.Against != 0 {
		against, ratio = fmt.Sprintf("%.4g", f.Against), fmt.Sprintf("%.3f", f.Ratio)
	}
	return fmt.Sprintf("bench name=%s value=%.4g unit=%s against=%s ratio=%s bar=%s %s", f.Name, f.Value, f.Unit, against, ratio, bar, word)
}

// suite is a group of figures that share a set-up.
type suite struct {
	name string
	run  func(ctx context.Context, dir string, emit func(Figure)) error
}

var suites = []suite{
	{"message", messages},
	{"image.commit", commits},
	{"image.shared", shared},
	{"image.load", loads},
	{"image.open", opens},
	{"image.bulk", bulk},
	{"image.tree", trees},
	{"image.past", pastReads},
	{"image.pack", packs},
	{"image.blob", blobs},
	{"adapters.crowd", crowds},
	{"adapters.1b", tiersBig},
	{"bridge", bridges},
	{"catalog.rank", catalogRank},
	{"catalog.retrieval", catalogRetrieval},
	{"catalog.speed", catalogSpeed},
	{"engine.seed", engineSeed},
	{"engine.switch", engineSwitch},
	{"engine.1b", engineBig},
	{"mission", missions},
	{"mutation", planted},
	{"personas", personas},
}

func main() {
	if len(os.Args) > 1 { // the engine and trials start this program again
		switch os.Args[1] {
		case "engine":
			if err := llama.Serve(); err != nil {
				fmt.Fprintln(os.Stderr, "bench: "+err.Error())
				os.Exit(1)
			}
			return
		case quarantine.Command:
			os.Exit(quarantine.ChildMain(kernel.RegisterForTrials))
		}
	}
	only := flag.String("only", ".", "run suites whose name matches")
	profile := flag.String("cpuprofile", "", "write a profile of the processor to this file")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench: "+err.Error())
			os.Exit(1)
		}
		defer pprof.StopCPUProfile()
	}
	if err := run(*only); err != nil {
		fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		os.Exit(1)
	}
}

func run(only string) error {
	match, err := regexp.Compile(only)
	if err != nil {
		return err
	}
	out, err := os.Create(filepath.Join("bench", "results.jsonl"))
	if err != nil {
		return err
	}
	defer out.Close()
	lines := json.NewEncoder(out)
	for _, s := range suites {
		if !match.MatchString(s.name) {
			continue
		}
		dir, err := os.MkdirTemp(".", ".bench-")
		if err != nil {
			return err
		}
		err = s.run(context.Background(), dir, func(f Figure) {
			f.judge()
			fmt.Println(f)
			if err := lines.Encode(f); err != nil {
				fmt.Fprintln(os.Stderr, "bench: "+err.Error())
			}
		})
		if rerr := os.RemoveAll(dir); err == nil {
			err = rerr
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}
