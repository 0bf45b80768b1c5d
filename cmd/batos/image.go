package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"batos"
	"batos/image"
	"batos/internal/door/cli"
	"batos/internal/kernel"
	"batos/internal/wire"
	"batos/object"
)

// imageCommands are the care of an image. Those of care.go ask the server that
// has the image open, if one has; the others open its folder themselves and
// name the process that has it.
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
func withImage(ctx context.Context, app *cli.App, readOnly bool, fn func(*image.Image) error) error {
	return withOpened(ctx, app, image.Options{ReadOnly: readOnly}, fn)
}

func withOpened(ctx context.Context, app *cli.App, o image.Options, fn func(*image.Image) error) (err error) {
	dir, err := filepath.Abs(app.Image())
	if err != nil {
		return err
	}
	if there, err := image.Exists(dir); err != nil || !there {
		return cmp.Or(err, app.NoImage())
	}
	im, err := image.Open(ctx, dir, o)
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

func imageRestore(app *cli.App) *cobra.Command {
	var at string
	var foreign bool
	c := &cobra.Command{
		Use: "restore BACKUP", Short: "Make an image of a backup", Args: cobra.ExactArgs(1),
		Long: "Make the image folder (--image), which must not hold an image, of a backup, as it was at any moment that the backup has.\n" +
			"Every byte is verified. A backup restores what it is of with all its rights; of one that is not yours, give --foreign: its newest\n" +
			"state comes in as batos image import brings it in, and nothing runs before batos image accept.",
		RunE: func(cmd *cobra.Command, args []string) error {
			tid, err := wire.ParseMoment(at)
			if err != nil {
				return err
			}
			dir, err := filepath.Abs(app.Image())
			if err != nil {
				return err
			}
			if foreign {
				r, err := restoreForeign(cmd.Context(), args[0], dir, tid)
				if err != nil {
					return err
				}
				return showImport(app, r)
			}
			r, err := image.Restore(cmd.Context(), args[0], dir, tid, image.Options{})
			if err != nil {
				return err
			}
			if app.JSON() {
				return app.Print(r)
			}
			app.Line("restored %s of log and %s as of %s, %s", size(r.LogBytes), plural(int64(r.Blobs), "blob", "blobs"), r.Last, r.Last.Time().Format(time.RFC3339))
			if tid > r.End {
				app.Line("the backup ends there: it does not have what was committed between then and %s", at)
			}
			return nil
		},
	}
	c.Flags().StringVar(&at, "at", "", "as of a tid or a time")
	c.Flags().BoolVar(&foreign, "foreign", false, "trust nothing in it: bring it in as an import")
	return c
}

// restoreForeign brings what a backup is of in as an import: restored and
// exported beside the new image, and imported from there.
func restoreForeign(ctx context.Context, from, dir string, at batos.TID) (r image.ExportReport, err error) {
	beside := filepath.Dir(dir)
	err = os.MkdirAll(beside, 0o700)
	var work string
	if err == nil {
		work, err = os.MkdirTemp(beside, "batos-restore-")
	}
	if err != nil {
		return r, batos.Errorf(batos.Invalid, "no image can be made in %s: %w", beside, err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	restored, text := filepath.Join(work, "image"), filepath.Join(work, "text")
	if _, err := image.Restore(ctx, from, restored, at, image.Options{}); err != nil {
		return r, err
	}
	im, err := image.Open(ctx, restored, image.Options{ReadOnly: true})
	if err != nil {
		return r, err
	}
	_, err = im.Export(ctx, text, 0)
	if err = errors.Join(err, im.Close()); err != nil {
		return r, err
	}
	return importImage(ctx, dir, text)
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
			dir, err := filepath.Abs(app.Image())
			if err != nil {
				return err
			}
			r, err := importImage(cmd.Context(), dir, args[0])
			if err != nil {
				return err
			}
			return showImport(app, r)
		},
	}
}

func showImport(app *cli.App, r image.ExportReport) error {
	if app.JSON() {
		return app.Print(r)
	}
	app.Line("imported %s, %s and %s as %s", plural(r.Objects, "object", "objects"), plural(r.Trees, "tree", "trees"), plural(r.Blobs, "blob", "blobs"), r.Author)
	app.Line("look at it with batos up --safe, then: batos image accept")
	return nil
}

// importImage makes an image in a folder, which may be new, of an export.
func importImage(ctx context.Context, dir, from string) (r image.ExportReport, err error) {
	if _, missing := os.Stat(dir); errors.Is(missing, fs.ErrNotExist) {
		defer func() {
			if err != nil { // it was made for this
				err = errors.Join(err, os.RemoveAll(dir))
			}
		}()
	}
	im, err := image.Open(ctx, dir, image.Options{})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, im.Close()) }()
	return kernel.Import(ctx, im, from)
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
