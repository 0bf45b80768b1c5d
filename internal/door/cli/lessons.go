package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"batos"
	"batos/internal/wire"
)

// Collect is the command that writes the golden set of the running image to a
// file, for batos forge train.
func (a *App) Collect() *cobra.Command {
	out := ""
	c := &cobra.Command{
		Use: "collect", Short: "Write what the image can teach its model to a file", Args: cobra.NoArgs,
		Long: `Write the golden set of the running image to a file, one example on each line: for each
method that a mission wrote, what a person put in its place, or the method itself if it was
let stand. Rejected and removed methods are left out. batos forge train takes the file.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var got wire.Lessons
			if err := a.call(cmd.Context(), http.MethodGet, "/lessons", nil, &got); err != nil {
				return err
			}
			var b bytes.Buffer
			corrections, kept := 0, 0
			for _, l := range got.Lessons {
				line, err := json.Marshal(l)
				if err != nil {
					return batos.Errorf(batos.Invalid, "%w", err)
				}
				b.Write(append(line, '\n'))
				if l.From == "correction" {
					corrections++
				} else {
					kept++
				}
			}
			if err := os.WriteFile(out, b.Bytes(), 0o600); err != nil {
				return batos.Errorf(batos.Invalid, "%w", err)
			}
			return a.done(map[string]any{"file": out, "corrections": corrections, "kept": kept, "skipped": got.Skipped},
				"%d corrections and %d methods that were let stand, in %s; %d are beyond the model", corrections, kept, out, got.Skipped)
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "golden.jsonl", "file to write")
	return c
}

// Train is the command that begins a training in the running image.
func (a *App) Train() *cobra.Command {
	in := wire.Train{}
	c := &cobra.Command{
		Use: "start", Short: "Train a new adapter in the running image on what it has collected", Args: cobra.NoArgs,
		Long: `Begin a training in the running image: on the golden set that batos forge collect shows, in a
process of its own, kept as a job that goes on after a restart. A better adapter comes into the
image as BRICK_LORA_V2, V3, and so on; with --promote it takes the old one's place, and batos
undo takes that back.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out wire.Job
			if err := a.call(cmd.Context(), http.MethodPost, "/forge/jobs", in, &out); err != nil {
				return err
			}
			return a.done(out, "%s  %s: %d lessons, %s; see batos forge list", out.OID, out.Adapter, out.Lessons, out.Status)
		},
	}
	c.Flags().StringVar(&in.Persona, "persona", "BRICK", "whose adapter")
	c.Flags().StringVar(&in.Name, "name", "", "name of the new adapter")
	c.Flags().BoolVar(&in.Promote, "promote", false, "put a better adapter in the old one's place")
	return c
}

// Jobs lists the trainings of the running image.
func (a *App) Jobs() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the trainings of the running image", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out wire.Jobs
			if err := a.call(cmd.Context(), http.MethodGet, "/forge/jobs", nil, &out); err != nil {
				return err
			}
			if a.json {
				a.print(out)
				return nil
			}
			for _, j := range out.Jobs {
				line := ""
				switch j.Status {
				case "running":
					line = fmt.Sprintf("step %d of %d, loss %.4f", j.Step, j.Steps, j.Loss)
				case "done", "rejected":
					line = fmt.Sprintf("loss %.4f before, %.4f now", j.Before, j.After)
				case "failed":
					line = j.Error
				}
				a.line("%s  %s  %d lessons  %s  %s", j.OID, j.Adapter, j.Lessons, j.Status, line)
			}
			return nil
		},
	}
}
