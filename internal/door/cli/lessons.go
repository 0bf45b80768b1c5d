package cli

import (
	"bytes"
	"encoding/json"
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
