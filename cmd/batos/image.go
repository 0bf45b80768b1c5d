package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"batos"
	"batos/image"
	"batos/internal/door/cli"
	"batos/internal/kernel"
	"batos/internal/wire"
	"batos/object"
)

// imageCommands are the care of an image. They open its folder themselves:
// those that only read work while a server has it open, the others name the
// process that has it.
func imageCommands(app *cli.App) *cobra.Command {
	c := &cobra.Command{
		Use: "image", Short: "Verify, measure, pack, back up and move an image", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return batos.Errorf(batos.Invalid, "say what: verify, stats, pack, backup, restore, export, import, accept or upgrade")
		},
	}
	c.AddCommand(
		imageVerify(app), imageStats(app), imagePack(app), imageBackup(app), imageRestore(app), imageExport(app), imageImport(app),
		imageAccept(app), imageUpgrade(app),
	)
	return c
}

// withImage opens the image for one command.
func withImage(ctx context.Context, app *cli.App, readOnly bool, fn func(*image.Image) error) (err error) {
	dir, err := filepath.Abs(app.Image())
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); err != nil {
		return batos.Errorf(batos.NotFound, "there is no image in %s", app.Image())
	}
	im, err := image.Open(ctx, dir, image.Options{ReadOnly: readOnly})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	return fn(im)
}

// me is who acts at this terminal.
func me() kernel.Person {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return kernel.Person{Name: u.Username}
	}
	return kernel.Person{Name: "person"}
}

func imageVerify(app *cli.App) *cobra.Command {
	var o image.VerifyOptions
	c := &cobra.Command{
		Use: "verify", Short: "Look for damage: what, where, since when", Args: cobra.NoArgs,
		Long: "Read the whole image, past and blobs included, and say what is wrong. References that lead nowhere and objects that\n" +
			"nothing leads to are told of, but are no damage. Damage is exit status 4.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withImage(cmd.Context(), app, true, func(im *image.Image) error { return verifyImage(cmd.Context(), app, im, o) })
		},
	}
	c.Flags().BoolVar(&o.SkipBlobs, "skip-blobs", false, "do not read the content of blobs")
	return c
}

// problemLine is one finding of verify in JSON.
type problemLine struct {
	Kind   string `json:"kind"`
	Text   string `json:"text"`
	OID    string `json:"oid,omitempty"`
	TID    string `json:"tid,omitempty"`
	Since  string `json:"since,omitempty"`
	File   string `json:"file,omitempty"`
	Offset int64  `json:"offset,omitempty"`
	Damage bool   `json:"damage"`
}

func verifyImage(ctx context.Context, app *cli.App, im *image.Image, o image.VerifyOptions) error {
	var report image.VerifyReport
	found, damage := []problemLine{}, 0
	for p, err := range im.Verify(ctx, o, &report) {
		if err != nil {
			return err
		}
		l := problemLine{Kind: string(p.Kind), Text: p.Text, File: p.File, Offset: p.Offset, Damage: image.IsDamage(p)}
		if p.OID != 0 {
			l.OID = p.OID.String()
		}
		if p.TID != 0 {
			l.TID = p.TID.String()
		}
		since := ""
		if p.Since != 0 {
			l.Since = p.Since.String()
			since = ", since " + p.Since.Time().Format(time.RFC3339)
		}
		if l.Damage {
			damage++
		}
		if app.JSON() {
			found = append(found, l)
		} else {
			app.Line("%s: %s%s", l.Kind, l.Text, since)
		}
	}
	if app.JSON() {
		if err := app.Print(struct {
			Transactions int64         `json:"transactions"`
			Revisions    int64         `json:"revisions"`
			Objects      int64         `json:"objects"`
			Trees        int64         `json:"trees"`
			Pages        int64         `json:"pages"`
			Problems     []problemLine `json:"problems"`
		}{report.Transactions, report.Revisions, report.Objects, report.Trees, report.Pages, found}); err != nil {
			return err
		}
		if damage > 0 {
			return cli.Silent(batos.Errorf(batos.Corrupt, "the image is damaged"))
		}
		return nil
	}
	app.Line("%d objects and %d trees of %d pages, %d revisions in %d transactions", report.Objects, report.Trees, report.Pages, report.Revisions, report.Transactions)
	if damage > 0 {
		return batos.Errorf(batos.Corrupt, "%d places are damaged; restore the image from a backup, or export what can be read", damage)
	}
	app.Line("no damage")
	return nil
}

func imageStats(app *cli.App) *cobra.Command {
	var top int
	var of string
	c := &cobra.Command{
		Use: "stats", Short: "Show where the space goes, and who refers to whom", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withImage(cmd.Context(), app, true, func(im *image.Image) error {
				if of != "" {
					return referrers(cmd.Context(), app, im, of)
				}
				return statsOf(cmd.Context(), app, im, top)
			})
		},
	}
	c.Flags().IntVar(&top, "top", 10, "length of the lists")
	c.Flags().StringVar(&of, "of", "", "list what refers to this object instead: an oid or a root name")
	return c
}

func statsOf(ctx context.Context, app *cli.App, im *image.Image, top int) error {
	s, err := im.Survey(ctx, top)
	if err != nil {
		return err
	}
	stats := im.Stats()
	if app.JSON() {
		return app.Print(struct {
			Log      int64         `json:"log_bytes"`
			Blobs    int64         `json:"blob_bytes"`
			Warnings []string      `json:"warnings,omitempty"`
			Survey   *image.Survey `json:"survey"`
		}{stats.LogBytes, stats.BlobBytes, stats.Warnings(), s})
	}
	names, err := namesOf(ctx, im)
	if err != nil {
		return err
	}
	app.Line("%d objects, %d transactions, log %s, blobs %s", stats.Objects, stats.Transactions, size(stats.LogBytes), size(stats.BlobBytes))
	for _, w := range stats.Warnings() {
		app.Line("warning: %s", w)
	}
	app.Line("")
	app.Line("%-24s %9s %12s %9s %12s %6s %12s", "kind", "now", "bytes", "past", "bytes", "blobs", "bytes")
	for _, k := range s.Kinds {
		app.Line("%-24s %9d %12d %9d %12d %6d %12d", k.Kind, k.Count, k.Bytes, k.Past, k.PastBytes, k.Blobs, k.BlobBytes)
	}
	for _, l := range []struct {
		title string
		list  []image.Sized
	}{{"biggest", s.Biggest}, {"with the biggest past", s.Busiest}} {
		app.Line("")
		app.Line("%s", l.title)
		for _, o := range l.list {
			app.Line("  %12d  %s", o.Bytes, calledIn(names, o.OID, o.Tree))
		}
	}
	app.Line("")
	app.Line("most referred to")
	for _, o := range s.Popular {
		app.Line("  %12d  %s", o.From, calledIn(names, o.OID, false))
	}
	if s.Dangling > 0 {
		app.Line("")
		app.Line("%d references lead nowhere; see batos image verify", s.Dangling)
	}
	return nil
}

func referrers(ctx context.Context, app *cli.App, im *image.Image, of string) error {
	names, err := namesOf(ctx, im)
	if err != nil {
		return err
	}
	oid, err := batos.ParseOID(of)
	if err != nil {
		for o, n := range names {
			if n == of || n == of+"_obj" && oid == 0 {
				oid = o
			}
		}
		if oid == 0 {
			return batos.Errorf(batos.NotFound, "no object is named %.60q", of)
		}
	}
	from, err := im.Referrers(ctx, oid)
	if err != nil {
		return err
	}
	lines := make([]string, len(from))
	for i, o := range from {
		lines[i] = calledIn(names, o, false)
	}
	if app.JSON() {
		return app.Print(struct {
			Of   string   `json:"of"`
			From []string `json:"from"`
		}{oid.String(), lines})
	}
	for _, l := range lines {
		app.Line("%s", l)
	}
	if len(lines) == 0 {
		app.Line("nothing refers to %s", of)
	}
	return nil
}

func namesOf(ctx context.Context, im *image.Image) (map[batos.OID]string, error) {
	out := map[batos.OID]string{}
	err := im.View(ctx, func(tx *image.Tx) error {
		out[batos.OID(tx.Names().ID())] = "root names"
		for e, err := range tx.Names().Range(nil, nil) {
			if err != nil {
				return err
			}
			name, _ := e.Key.(object.Str)
			oid, _ := e.Value.(object.Ref)
			out[batos.OID(oid)] = string(name)
		}
		return nil
	})
	return out, err
}

func calledIn(names map[batos.OID]string, oid batos.OID, tree bool) string {
	s := oid.String()
	if tree {
		s = "tree " + s
	}
	return strings.TrimSpace(s + " " + names[oid])
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

func imagePack(app *cli.App) *cobra.Command {
	var before string
	var o kernel.PackOptions
	c := &cobra.Command{
		Use: "pack --before TIME", Short: "Give back the space of an old past", Args: cobra.NoArgs,
		Long: "Remove past states that nobody can see from a moment on, and the records of messages that finished before it. Every\n" +
			"moment from then on stays as it is; older ones can no longer be seen or undone. Sources of methods, where they came from,\n" +
			"verdicts and the lineage of adapters stay, unless --forget.",
		Example: "  batos image pack --before 2026-10-01T00:00:00Z --dry-run",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if before == "" {
				return batos.Errorf(batos.Invalid, "say what is old: --before TIME")
			}
			tid, err := wire.ParseMoment(before)
			if err != nil {
				return err
			}
			o.Before = tid.Time()
			return withImage(cmd.Context(), app, o.DryRun, func(im *image.Image) error {
				r, err := kernel.Pack(cmd.Context(), im, o)
				if err != nil {
					return err
				}
				if app.JSON() {
					return app.Print(r)
				}
				did := "removed"
				if o.DryRun {
					did = "would remove"
				}
				app.Line("%s %d past revisions, %d transactions, %d records of messages and %d blobs: %s of log, %s of blobs; %d old revisions stay",
					did, r.Revisions, r.Transactions, r.Messages, r.Blobs, size(r.Bytes), size(r.BlobBytes), r.Kept)
				return nil
			})
		},
	}
	c.Flags().StringVar(&before, "before", "", "the moment from which on everything stays: a time or a tid")
	c.Flags().BoolVar(&o.Forget, "forget", false, "also remove old sources, provenance, verdicts and adapter lineage")
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "only say what would go")
	return c
}

func imageBackup(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use: "backup FOLDER", Short: "Copy the image, or what is new in it, into a backup", Args: cobra.ExactArgs(1),
		Long: "Bring the backup in a folder up to date, or begin one there. It may run while a server has the image open, and copies\n" +
			"what the folder does not have yet.",
		RunE: func(cmd *cobra.Command, args []string) error {
			return withImage(cmd.Context(), app, true, func(im *image.Image) error {
				r, err := im.Backup(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if app.JSON() {
					return app.Print(r)
				}
				app.Line("copied %s of log and %d blobs (%s); the backup is as of %s, %s", size(r.LogBytes), r.Blobs, size(r.BlobBytes),
					r.Last, r.Last.Time().Format(time.RFC3339))
				return nil
			})
		},
	}
}

func imageRestore(app *cli.App) *cobra.Command {
	var at string
	c := &cobra.Command{
		Use: "restore BACKUP", Short: "Make an image of a backup", Args: cobra.ExactArgs(1),
		Long: "Make the image folder (--image), which must not hold an image, of a backup, as it was at any moment that the backup has.\n" +
			"Every byte is verified.",
		RunE: func(cmd *cobra.Command, args []string) error {
			tid, err := wire.ParseMoment(at)
			if err != nil {
				return err
			}
			dir, err := filepath.Abs(app.Image())
			if err != nil {
				return err
			}
			r, err := image.Restore(cmd.Context(), args[0], dir, tid, image.Options{})
			if err != nil {
				return err
			}
			if app.JSON() {
				return app.Print(r)
			}
			app.Line("restored %s of log and %d blobs as of %s, %s", size(r.LogBytes), r.Blobs, r.Last, r.Last.Time().Format(time.RFC3339))
			return nil
		},
	}
	c.Flags().StringVar(&at, "at", "", "as of a tid or a time")
	return c
}

func imageExport(app *cli.App) *cobra.Command {
	var at string
	c := &cobra.Command{
		Use: "export FOLDER", Short: "Write the image as text, for reading and for git", Args: cobra.ExactArgs(1),
		Long: "Write every object as a file of text (methods as they were written), every tree as another, and blobs beside them. A\n" +
			"folder with an older export is brought up to date.",
		RunE: func(cmd *cobra.Command, args []string) error {
			tid, err := wire.ParseMoment(at)
			if err != nil {
				return err
			}
			return withImage(cmd.Context(), app, true, func(im *image.Image) error {
				r, err := im.Export(cmd.Context(), args[0], tid)
				if err != nil {
					return err
				}
				if app.JSON() {
					return app.Print(r)
				}
				app.Line("exported %d objects, %d trees and %d blobs as of %s", r.Objects, r.Trees, r.Blobs, r.At)
				return nil
			})
		},
	}
	c.Flags().StringVar(&at, "at", "", "as of a tid or a time")
	return c
}

func imageImport(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use: "import FOLDER", Short: "Make an image of an export", Args: cobra.ExactArgs(1),
		Long: "Make the image folder (--image), which must be new, of the folder of an export. Nothing in it is trusted: methods that\n" +
			"this release does not ship become imported code that is audited, and nothing runs before batos image accept.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := os.Stat(args[0]); err != nil {
				return batos.Errorf(batos.NotFound, "there is no export in %s", args[0])
			}
			if err := os.MkdirAll(app.Image(), 0o700); err != nil {
				return batos.Errorf(batos.Denied, "the image folder: %w", err)
			}
			return withImage(cmd.Context(), app, false, func(im *image.Image) error {
				r, err := kernel.Import(cmd.Context(), im, args[0])
				if err != nil {
					return err
				}
				if app.JSON() {
					return app.Print(r)
				}
				app.Line("imported %d objects, %d trees and %d blobs as %s", r.Objects, r.Trees, r.Blobs, r.Author)
				app.Line("look at it with batos up --safe, then: batos image accept")
				return nil
			})
		},
	}
}

func imageAccept(app *cli.App) *cobra.Command {
	return &cobra.Command{
		Use: "accept", Short: "Let the code of an imported image run", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withImage(cmd.Context(), app, false, func(im *image.Image) error {
				n, err := kernel.Accept(cmd.Context(), im, me())
				if err != nil {
					return err
				}
				if app.JSON() {
					return app.Print(struct {
						Methods int `json:"methods"`
					}{n})
				}
				app.Line("accepted; %d imported methods run with the authority of generated code from now on", n)
				return nil
			})
		},
	}
}

func imageUpgrade(app *cli.App) *cobra.Command {
	var diff bool
	c := &cobra.Command{
		Use: "upgrade", Short: "Bring the genesis objects to this release", Args: cobra.NoArgs,
		Long: "Replace the slots of genesis objects that still hold what their release shipped by what this one ships, in one\n" +
			"transaction that batos undo takes back. Slots that were edited stay and are listed.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withImage(cmd.Context(), app, diff, func(im *image.Image) error {
				u, err := kernel.UpgradeGenesis(cmd.Context(), im, diff)
				if err != nil {
					return err
				}
				return showUpgrade(app, u, diff)
			})
		},
	}
	c.Flags().BoolVar(&diff, "diff", false, "only show what it would do")
	return c
}

func showUpgrade(app *cli.App, u *kernel.Upgrade, diff bool) error {
	if app.JSON() {
		type step struct {
			Object string      `json:"object"`
			Slot   string      `json:"slot"`
			Kind   string      `json:"kind"`
			Before *wire.Value `json:"before,omitempty"`
			After  *wire.Value `json:"after,omitempty"`
		}
		side := func(v object.Value) *wire.Value {
			if v == nil {
				return nil
			}
			return &wire.Value{Value: v}
		}
		steps := []step{}
		for _, s := range u.Steps {
			steps = append(steps, step{s.Object, s.Slot, string(s.Kind), side(s.Before), side(s.After)})
		}
		return app.Print(struct {
			From  string `json:"from"`
			To    string `json:"to"`
			TID   string `json:"tid,omitempty"`
			Steps []step `json:"steps"`
		}{u.From, u.To, tidText(u.TID), steps})
	}
	const width = 120
	for _, s := range u.Steps {
		app.Line("%-8s %s.%s", s.Kind, s.Object, s.Slot)
		if diff {
			app.Line("  - %s\n  + %s", object.Text(s.Before, width), object.Text(s.After, width))
		}
	}
	switch {
	case !u.Changes():
		app.Line("genesis %s is up to date", u.To)
	case diff:
		app.Line("this would upgrade genesis from %s to %s", u.From, u.To)
	default:
		app.Line("upgraded genesis from %s to %s in %s", u.From, u.To, u.TID)
	}
	return nil
}

func tidText(tid batos.TID) string {
	if tid == 0 {
		return ""
	}
	return tid.String()
}
