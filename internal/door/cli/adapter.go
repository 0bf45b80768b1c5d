package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"batos"
	"batos/internal/wire"
	"batos/object"
)

// adapter shows and moves LoRA adapters.
func (a *App) adapter() *cobra.Command {
	c := &cobra.Command{
		Use: "adapter", Short: "LoRA adapters: what makes a persona of the model", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return batos.Errorf(batos.Invalid, "say what: import, export, list, show, activate or evict")
		},
	}
	c.AddCommand(a.adapterImport(), a.adapterExport(), a.adapterList(), a.adapterShow(), a.adapterMove("activate", "hot", "Bring an adapter into the engine"), a.adapterEvict())
	return c
}

func (a *App) adapterImport() *cobra.Command {
	var in wire.ImportAdapters
	c := &cobra.Command{
		Use: "import PATH…", Short: "Take adapters into the image", Args: cobra.MinimumNArgs(1),
		Long: "Take adapters into the image: PEFT folders (adapter_model.safetensors with adapter_config.json), safetensors files, GGUF LoRA files,\n" +
			"or a folder of any of them. Each is checked and converted for the model in use. What cannot be used exactly is refused by its name.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var refused error
			for _, path := range args {
				in := in
				var err error
				if in.Path, err = filepath.Abs(path); err != nil {
					return err
				}
				var out wire.ImportedAdapters
				if err := a.call(cmd.Context(), http.MethodPost, "/adapters", in, &out); err != nil {
					return err
				}
				if a.json {
					a.print(out)
				}
				for _, i := range out.Imported {
					switch {
					case i.Error != nil:
						refused = i.Error.Err()
						a.tellErr("%s", i.Error.Message)
					case a.json:
					case i.Added:
						a.line("%s %s, rank %d over %d kinds of layers, %s", i.Adapter.OID, i.Adapter.Name, i.Adapter.Rank, len(i.Adapter.Targets), size(i.Adapter.Bytes))
					default:
						a.line("%s %s is in the image already", i.Adapter.OID, i.Adapter.Name)
					}
				}
			}
			if refused != nil {
				return batos.Errorf(batos.CodeOf(refused), "not all adapters could be imported")
			}
			return nil
		},
	}
	c.Flags().StringVar(&in.Name, "name", "", "what the image calls it (default: the name of its file or folder)")
	c.Flags().StringVar(&in.Persona, "persona", "", "the persona whose work it does, for the record")
	c.Flags().Float64Var(&in.Alpha, "alpha", 0, "lora_alpha of a safetensors file that comes without adapter_config.json")
	return c
}

func (a *App) adapterExport() *cobra.Command {
	var in wire.ExportAdapter
	c := &cobra.Command{
		Use: "export NAME… --to FOLDER", Short: "Write adapters into a folder, under their immutable names", Args: cobra.MinimumNArgs(1),
		Long: "Write adapters into a folder, each under its immutable name, name@hash12: as a PEFT folder if it came as one, else as a GGUF file.\n" +
			"That is what other servers load them from: batos up --model http://… --server-adapters FOLDER.",
		RunE: func(cmd *cobra.Command, args []string) error {
			folder, err := filepath.Abs(in.Folder)
			if err != nil {
				return err
			}
			for _, name := range args {
				var out wire.ExportedAdapter
				if err := a.call(cmd.Context(), http.MethodPost, "/adapters/"+url.PathEscape(name)+"/export", wire.ExportAdapter{Folder: folder, GGUF: in.GGUF}, &out); err != nil {
					return err
				}
				if err := a.done(out, "%s", out.Path); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&in.Folder, "to", ".", "the folder")
	c.Flags().BoolVar(&in.GGUF, "gguf", false, "as GGUF files, also what came in PEFT's form")
	return c
}

// tellErr writes a line beside the answer.
func (a *App) tellErr(format string, args ...any) {
	fmt.Fprintf(a.Err, "batos: "+format+"\n", args...)
}

func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}

func (a *App) adapterList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List adapters with their tier, bytes, hits and last use", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out wire.Adapters
			if err := a.call(cmd.Context(), http.MethodGet, "/adapters", nil, &out); err != nil {
				return err
			}
			if a.json {
				a.print(out)
				return nil
			}
			if len(out.Adapters) == 0 {
				a.line("no adapters; the personas answer as the bare model. batos adapter import PATH takes some in")
				return nil
			}
			a.line("%-24s %-7s %10s %6s  %-20s %s", "NAME", "TIER", "SIZE", "HITS", "LAST USE", "HASH")
			for _, x := range out.Adapters {
				last, note := "never", ""
				if x.LastUse != nil {
					last = x.LastUse.Local().Format(time.DateTime)
				}
				if !x.Fits {
					note = "  (for another model)"
				}
				a.line("%-24s %-7s %10s %6d  %-20s %.12s%s", x.Name, x.Tier, size(x.Bytes), x.Hits, last, x.Hash, note)
			}
			a.line("warm %s of %s, hot %s of %s", size(out.Tiers.Warm), size(out.Tiers.WarmBudget), size(out.Tiers.Hot), size(out.Tiers.HotBudget))
			if out.Tiers.Thrash {
				a.line("the adapters in use do not fit into the hot tier: the same ones are loaded again and again. batos set vram_manifest budget_mb N gives it more")
			}
			return nil
		},
	}
}

func (a *App) adapterShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show one adapter", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var out wire.Adapters
			if err := a.call(cmd.Context(), http.MethodGet, "/adapters", nil, &out); err != nil {
				return err
			}
			for _, x := range out.Adapters {
				if x.Name != args[0] && x.OID != args[0] && x.Hash != args[0] {
					continue
				}
				if a.json {
					a.print(x)
					return nil
				}
				a.line("%s  %s", x.OID, x.Name)
				for _, row := range [][2]string{
					{"persona", x.Persona}, {"tier", x.Tier}, {"size", size(x.Bytes)}, {"rank", fmt.Sprint(x.Rank)}, {"alpha", fmt.Sprint(x.Alpha)},
					{"layers", fmt.Sprint(x.Targets)}, {"parameters", fmt.Sprint(x.Parameters)}, {"hash", x.Hash}, {"base model", x.Base}, {"origin", x.Origin},
				} {
					if row[1] != "" {
						a.line("  %-12s %s", row[0], row[1])
					}
				}
				return nil
			}
			return batos.Errorf(batos.NotFound, "no adapter is named %.60q; batos adapter list", args[0])
		},
	}
}

func (a *App) adapterMove(verb, tier, short string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.moveAdapter(cmd.Context(), args[0], tier) },
	}
}

func (a *App) adapterEvict() *cobra.Command {
	var cold bool
	c := &cobra.Command{
		Use: "evict NAME", Short: "Take an adapter out of the engine", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			tier := "warm"
			if cold {
				tier = "cold"
			}
			return a.moveAdapter(cmd.Context(), args[0], tier)
		},
	}
	c.Flags().BoolVar(&cold, "cold", false, "out of memory too")
	return c
}

func (a *App) moveAdapter(ctx context.Context, name, tier string) error {
	var out wire.Adapter
	if err := a.call(ctx, http.MethodPost, "/adapters/"+url.PathEscape(name)+"/"+tier, struct{}{}, &out); err != nil {
		return err
	}
	return a.done(out, "%s is %s", out.Name, out.Tier)
}

// model shows and chooses base models.
func (a *App) model() *cobra.Command {
	c := &cobra.Command{
		Use: "model", Short: "Base models that the image holds", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return batos.Errorf(batos.Invalid, "say what: import, list or use")
		},
	}
	list := &cobra.Command{
		Use: "list", Short: "List models", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var out wire.Models
			if err := a.call(cmd.Context(), http.MethodGet, "/models", nil, &out); err != nil {
				return err
			}
			if a.json {
				a.print(out)
				return nil
			}
			for _, m := range out.Models {
				mark := " "
				if m.InUse {
					mark = "*"
				}
				a.line("%s %-28s %10s  %s, %d parameters, context %d, %.12s", mark, m.Name, size(m.Bytes), m.Architecture, m.Parameters, m.Context, m.Hash)
			}
			return nil
		},
	}
	use := &cobra.Command{
		Use: "use NAME", Short: "Use a model of the image, from now on", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var m wire.Model
			if err := a.call(cmd.Context(), http.MethodPost, "/models/"+url.PathEscape(args[0])+"/use", struct{}{}, &m); err != nil {
				return err
			}
			return a.done(m, "%s is in use", m.Name)
		},
	}
	c.AddCommand(list, use)
	return c
}

// ImportModel sends a GGUF file on this machine to the server, which takes it
// into the image, and shows how far it is.
func (a *App) ImportModel(ctx context.Context, path, name string) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	show, end := a.Meter("import")
	told := make(chan struct{})
	go func() {
		defer close(told)
		_ = client.Events(watching, 0, func(e wire.Event) error { // only for show
			if e.Kind == "import" {
				show(wire.CareProgress{Done: number(get(e.Data.Value, "done")), Total: number(get(e.Data.Value, "bytes"))})
			}
			return nil
		})
	}()
	var m wire.Model
	err = client.Do(ctx, http.MethodPost, "/models", wire.ImportModel{Path: path, Name: name}, &m)
	stop()
	<-told
	end()
	if err != nil {
		return err
	}
	return a.done(m, "%s, %s, %s, %d parameters; batos model use %s makes it the one in use", m.Name, size(m.Bytes), m.Architecture, m.Parameters, m.Name)
}

// number reads a whole number of an event.
func number(v object.Value) int64 {
	if i, ok := v.(object.Int); ok {
		n, _ := i.Int64()
		return n
	}
	return 0
}

// Model is the command over the models of a running image, for whoever adds
// commands that need no server.
func (a *App) Model() *cobra.Command { return a.model() }
