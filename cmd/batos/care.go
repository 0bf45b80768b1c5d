package main

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"batos"
	"batos/image"
	"batos/image/store"
	"batos/image/store/logstore"
	"batos/internal/door/care"
	"batos/internal/door/cli"
	"batos/internal/wire"
)

// lookAfter does a piece of care: through the server that has the image open,
// or on the folder where nobody has it. What only reads works beside a server
// that does not answer, too.
func lookAfter(ctx context.Context, app *cli.App, in wire.Care, tell func(wire.CareEvent)) (*wire.CareResult, error) {
	if err := care.Check(in); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(app.Image())
	if err != nil {
		return nil, err
	}
	here, err := image.Exists(dir)
	if err != nil {
		return nil, err
	}
	if !here && app.Getenv("BATOS_TOKEN") == "" {
		return nil, app.NoImage()
	}
	holder := ""
	if here {
		if holder, err = image.Holder(dir); err != nil {
			return nil, err
		}
	}
	if holder != "" || !here {
		r, served, err := app.Care(ctx, in, tell)
		if served || !here {
			return r, err
		}
		if in.Verb == wire.CarePack && !in.DryRun {
			return nil, batos.Errorf(batos.Locked, "the image %s is in use by %s, which does not answer as its server (%v): give --server, or end that process", app.Image(), holder, err)
		}
	}
	var out *wire.CareResult
	reads := in.Verb != wire.CarePack || in.DryRun
	err = withOpened(ctx, app, image.Options{ReadOnly: reads, Salvage: in.Salvage}, func(im *image.Image) (err error) {
		out, err = care.Run(ctx, im, in, tell)
		return err
	})
	return out, err
}

// metered is lookAfter for commands that print one result in the end, with
// progress on a terminal.
func metered(cmd *cobra.Command, app *cli.App, in wire.Care) (*wire.CareResult, error) {
	show, end := app.Meter(in.Verb)
	defer end()
	return lookAfter(cmd.Context(), app, in, func(e wire.CareEvent) {
		if e.Progress != nil {
			show(*e.Progress)
		}
	})
}

func imageVerify(app *cli.App) *cobra.Command {
	in := wire.Care{Verb: wire.CareVerify}
	all := false
	c := &cobra.Command{
		Use: "verify", Short: "Look for damage: what, where, since when", Args: cobra.NoArgs,
		Long: "Read the whole image, past and blobs included, and say what is wrong. References that lead nowhere and objects that\n" +
			"nothing leads to are told of, but are no damage. Damage is exit status 4. It may run while a server has the image open.",
		RunE: func(cmd *cobra.Command, _ []string) error { return verifyImage(cmd.Context(), app, in, all) },
	}
	c.Flags().BoolVar(&in.SkipBlobs, "skip-blobs", false, "do not read the content of blobs")
	c.Flags().BoolVar(&all, "all", false, "list everything that is no damage, too, and not only the first of each kind")
	return c
}

// harmlessShown is how many findings of a kind that is no damage are listed.
const harmlessShown = 5

func verifyImage(ctx context.Context, app *cli.App, in wire.Care, all bool) error {
	found := []wire.CareProblem{}
	harmless := map[string]int64{}
	lost := 0 // what is damaged and cannot be made again
	r, err := lookAfter(ctx, app, in, func(e wire.CareEvent) {
		p := e.Problem
		if p != nil && !p.Damage {
			harmless[p.Kind]++
		}
		if p != nil && p.Damage && p.Kind != string(store.WrongIndex) && p.Kind != string(store.WrongSums) {
			lost++
		}
		switch {
		case p == nil:
		case app.JSON():
			found = append(found, *p)
		case !p.Damage && !all && harmless[p.Kind] > harmlessShown:
		case p.Time != nil:
			app.Line("%s: %s, since %s", p.Kind, p.Text, p.Time.Format(time.RFC3339))
		default:
			app.Line("%s: %s", p.Kind, p.Text)
		}
	})
	if err != nil {
		return err
	}
	v := r.Verify
	damaged := batos.Errorf(batos.Corrupt, "%s damaged; restore the image from a backup, or export --salvage what can be read", plural(int64(v.Damage), "place is", "places are"))
	if lost == 0 {
		damaged = batos.Errorf(batos.Corrupt, "%s damaged, but nothing is lost: stop the server, remove %s if it is the index, and start again", plural(int64(v.Damage), "place is", "places are"),
			filepath.Join(app.Image(), logstore.IndexFile))
	}
	if app.JSON() {
		if err := app.Print(struct {
			*wire.VerifyResult
			List []wire.CareProblem `json:"problems"`
		}{v, found}); err != nil {
			return err
		}
		if v.Damage > 0 {
			return cli.Silent(damaged)
		}
		return nil
	}
	for _, kind := range slices.Sorted(maps.Keys(harmless)) {
		if n := harmless[kind] - harmlessShown; n > 0 && !all {
			app.Line("%s: and %d more, which is no damage; --all lists them", kind, n)
		}
	}
	app.Line("%s and %s of %s, %s in %s", plural(v.Objects, "object", "objects"), plural(v.Trees, "tree", "trees"), plural(v.Pages, "page", "pages"),
		plural(v.Revisions, "revision", "revisions"), plural(v.Transactions, "transaction", "transactions"))
	if v.Damage > 0 {
		return damaged
	}
	app.Line("no damage")
	return nil
}

// plural is a number with its noun.
func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func imageStats(app *cli.App) *cobra.Command {
	in := wire.Care{Verb: wire.CareStats}
	c := &cobra.Command{
		Use: "stats", Short: "Show where the space goes, and who refers to whom", Args: cobra.NoArgs,
		Long: "Show the space by kind of object, the biggest objects, those with the biggest past, and those that most others refer to.\n" +
			"With --of, list what refers to one object. It may run while a server has the image open.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if in.Top < 1 {
				return batos.Errorf(batos.Invalid, "--top %d: give a number from 1 on", in.Top)
			}
			r, err := metered(cmd, app, in)
			switch {
			case err != nil:
				return err
			case r.Referrers != nil:
				return showReferrers(app, r.Referrers, in.Of)
			}
			return showStats(app, r.Stats)
		},
	}
	c.Flags().IntVar(&in.Top, "top", 10, "length of the lists")
	c.Flags().StringVar(&in.Of, "of", "", "list what refers to this object instead: an oid or a root name")
	return c
}

func showStats(app *cli.App, s *wire.StatsResult) error {
	if app.JSON() {
		return app.Print(s)
	}
	app.Line("%s, %s, log %s, blobs %s, %s free on the disk", plural(s.Objects, "object", "objects"), plural(s.Transactions, "transaction", "transactions"),
		size(s.LogBytes), size(s.BlobBytes), size(s.DiskFree))
	for _, w := range s.Warnings {
		app.Line("warning: %s", w)
	}
	app.Line("")
	app.Line("%-28s %9s %12s %9s %12s %6s %12s", "kind", "now", "bytes", "past", "bytes", "blobs", "bytes")
	for _, k := range s.Kinds {
		app.Line("%-28.28s %9d %12d %9d %12d %6d %12d", k.Kind, k.Count, k.Bytes, k.Past, k.PastBytes, k.Blobs, k.BlobBytes)
	}
	for _, l := range []struct {
		title string
		list  []wire.Space
	}{{"biggest, in bytes", s.Biggest}, {"with the biggest past, in bytes", s.Busiest}} {
		app.Line("")
		app.Line("%s", l.title)
		for _, o := range l.list {
			app.Line("  %12d  %s", o.Bytes, called(o.Named, o.Kind))
		}
	}
	app.Line("")
	app.Line("most referred to, by how many")
	for _, o := range s.Popular {
		app.Line("  %12d  %s", o.From, called(o.Named, o.Kind))
	}
	if s.Dangling > 0 {
		app.Line("")
		app.Line("%s nowhere; see batos image verify", plural(s.Dangling, "reference leads", "references lead"))
	}
	return nil
}

func showReferrers(app *cli.App, r *wire.ReferrersResult, of string) error {
	if app.JSON() {
		return app.Print(r)
	}
	for _, o := range r.From {
		app.Line("%s", called(o, ""))
	}
	if len(r.From) == 0 {
		app.Line("nothing refers to %s", of)
	}
	return nil
}

// called is an object with what a person knows it by: its name, or its kind.
func called(o wire.Named, kind string) string {
	what := o.Name
	if what == "" && kind != "object" {
		what = "(" + kind + ")"
	}
	return strings.TrimSpace(strings.TrimSuffix(o.OID+" "+what, "()"))
}

func imagePack(app *cli.App) *cobra.Command {
	in := wire.Care{Verb: wire.CarePack}
	c := &cobra.Command{
		Use: "pack --before TIME", Short: "Give back the space of an old past", Args: cobra.NoArgs,
		Long: "Remove past states that nobody can see from a moment on, and the records of messages that finished before it. Every\n" +
			"moment from then on stays as it is; older ones can no longer be seen or undone. Sources of methods, where they came from,\n" +
			"verdicts and the lineage of adapters stay, unless --forget. It may run while a server has the image open, which goes on\n" +
			"serving; it needs space for one file of the log, 256 MiB, and no second copy. Ctrl-C ends it: what is packed is packed,\n" +
			"and the next pack goes on from there.",
		Example: "  batos image pack --before 2026-10-01T00:00:00Z --dry-run",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := metered(cmd, app, in)
			if err != nil {
				return err
			}
			p := r.Pack
			if app.JSON() {
				return app.Print(p)
			}
			did := "removed"
			if in.DryRun {
				did = "would remove"
			}
			app.Line("%s %s, %s, %s and %s: %s of log, %s of blobs; %s", did, plural(p.Revisions, "past revision", "past revisions"),
				plural(p.Transactions, "transaction", "transactions"), plural(int64(p.Messages), "record of a message", "records of messages"),
				plural(int64(p.Blobs), "blob", "blobs"), size(p.Bytes), size(p.BlobBytes), plural(p.Kept, "old revision stays", "old revisions stay"))
			return nil
		},
	}
	c.Flags().StringVar(&in.Before, "before", "", "the moment from which on everything stays: a time or a tid")
	c.Flags().BoolVar(&in.Forget, "forget", false, "also remove old sources, provenance, verdicts and adapter lineage")
	c.Flags().BoolVar(&in.DryRun, "dry-run", false, "only say what would go")
	return c
}

func imageBackup(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use: "backup FOLDER", Short: "Copy the image, or what is new in it, into a backup", Args: cobra.ExactArgs(1),
		Long: "Bring the backup in a folder up to date, or begin one there. It may run while a server has the image open, and copies\n" +
			"what the folder does not have yet.",
		RunE: func(cmd *cobra.Command, args []string) error {
			folder, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			r, err := metered(cmd, app, wire.Care{Verb: wire.CareBackup, Folder: folder})
			if err != nil {
				return err
			}
			b := r.Backup
			if app.JSON() {
				return app.Print(b)
			}
			app.Line("copied %s of log and %s (%s); the backup is as of %s, %s", size(b.LogBytes), plural(int64(b.Blobs), "blob", "blobs"), size(b.BlobBytes),
				b.Last, b.Time.Format(time.RFC3339))
			return nil
		},
	}
}

func imageExport(app *cli.App) *cobra.Command {
	in := wire.Care{Verb: wire.CareExport}
	c := &cobra.Command{
		Use: "export FOLDER", Short: "Write the image as text, for reading and for git", Args: cobra.ExactArgs(1),
		Long: "Write every object as a file of text (methods as they were written), every tree as another, and blobs beside them. A\n" +
			"folder with an older export is brought up to date. It may run while a server has the image open. With --salvage it goes\n" +
			"on without what is damaged, and lists that: exit status 4 if anything is lost. If nobody has the image open, it needs\n" +
			"neither the index nor every segment.",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if in.Folder, err = filepath.Abs(args[0]); err != nil {
				return err
			}
			lost := []wire.CareProblem{}
			r, err := lookAfter(cmd.Context(), app, in, func(e wire.CareEvent) {
				switch {
				case e.Problem == nil:
				case app.JSON():
					lost = append(lost, *e.Problem)
				default:
					app.Line("%s: %s", e.Problem.Kind, e.Problem.Text)
				}
			})
			if err != nil {
				return err
			}
			e := r.Export
			gone := batos.Errorf(batos.Corrupt, "%s lost; the rest was exported", plural(int64(e.Lost), "thing is", "things are"))
			if app.JSON() {
				err := app.Print(struct {
					*wire.ExportResult
					List []wire.CareProblem `json:"problems"`
				}{e, lost})
				if err == nil && e.Lost > 0 {
					err = cli.Silent(gone)
				}
				return err
			}
			app.Line("exported %s, %s and %s as of %s", plural(e.Objects, "object", "objects"), plural(e.Trees, "tree", "trees"), plural(e.Blobs, "blob", "blobs"), e.At)
			if e.Lost > 0 {
				return gone
			}
			return nil
		},
	}
	c.Flags().StringVar(&in.At, "at", "", "as of a tid or a time")
	c.Flags().BoolVar(&in.Salvage, "salvage", false, "go on without what cannot be read any more")
	return c
}

func size(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n < 1<<10:
		return plural(n, "byte", "bytes")
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}
