// Package care looks after an image on request: verify, stats, pack, backup and
// export. The same requests and answers serve a command that has opened the
// image itself and a server that has it open: see [Run].
package care

import (
	"context"
	"path/filepath"
	"time"

	"batos"
	"batos/image"
	"batos/image/store"
	"batos/internal/kernel"
	"batos/internal/wire"
	"batos/object"
)

// Run does what a request asks for, on an image that may be in use, and calls
// tell with progress and problems on the way. When ctx ends it ends; what was
// done until then is good, and the next request goes on.
func Run(ctx context.Context, im *image.Image, in wire.Care, tell func(wire.CareEvent)) (*wire.CareResult, error) {
	switch in.Verb {
	case wire.CareVerify:
		return verify(ctx, im, in, tell)
	case wire.CareStats:
		if in.Of != "" {
			return referrers(ctx, im, in.Of)
		}
		return stats(ctx, im, in)
	case wire.CarePack:
		return pack(ctx, im, in, tell)
	case wire.CareBackup:
		return backup(ctx, im, in, tell)
	case wire.CareExport:
		return export(ctx, im, in, tell)
	}
	return nil, batos.Errorf(batos.NotFound, "an image knows verify, stats, pack, backup and export, not %.60q", in.Verb)
}

// Check refuses what Run could not do on any image.
func Check(in wire.Care) error {
	switch in.Verb {
	case wire.CarePack:
		if in.Before == "" {
			return batos.Errorf(batos.Invalid, "say what is old: --before TIME")
		}
		_, err := wire.ParseMoment(in.Before)
		return err
	case wire.CareBackup, wire.CareExport:
		if !filepath.IsAbs(in.Folder) {
			return batos.Errorf(batos.Invalid, "the folder %.200q is no absolute path", in.Folder)
		}
		if in.Salvage && in.At != "" {
			return batos.Errorf(batos.Invalid, "what is salvaged is as it is now: leave --at out")
		}
		_, err := wire.ParseMoment(in.At)
		return err
	case wire.CareStats:
		if in.Top < 0 {
			return batos.Errorf(batos.Invalid, "lists cannot have %d entries", in.Top)
		}
	}
	return nil
}

func verify(ctx context.Context, im *image.Image, in wire.Care, tell func(wire.CareEvent)) (*wire.CareResult, error) {
	var report image.VerifyReport
	out := &wire.VerifyResult{}
	for p, err := range im.Verify(ctx, image.VerifyOptions{SkipBlobs: in.SkipBlobs}, &report) {
		if err != nil {
			return nil, err
		}
		l := problem(p)
		out.Problems++
		if l.Damage {
			out.Damage++
		}
		tell(wire.CareEvent{Problem: l})
	}
	out.Transactions, out.Revisions = report.Transactions, report.Revisions
	out.Objects, out.Trees, out.Pages = report.Objects, report.Trees, report.Pages
	return &wire.CareResult{Verify: out}, nil
}

func problem(p store.Problem) *wire.CareProblem {
	l := &wire.CareProblem{Kind: string(p.Kind), Text: p.Text, File: p.File, Offset: p.Offset, Damage: image.IsDamage(p)}
	if p.OID != 0 {
		l.OID = p.OID.String()
	}
	if p.TID != 0 {
		l.TID = p.TID.String()
	}
	if p.Since != 0 {
		at := p.Since.Time().UTC()
		l.Since, l.Time = p.Since.String(), &at
	}
	return l
}

// listDefault is the length of the lists of stats.
const listDefault = 10

func stats(ctx context.Context, im *image.Image, in wire.Care) (*wire.CareResult, error) {
	top := in.Top
	if top == 0 {
		top = listDefault
	}
	s, err := im.Survey(ctx, top)
	if err != nil {
		return nil, err
	}
	names, err := namesOf(ctx, im)
	if err != nil {
		return nil, err
	}
	st := im.Stats()
	out := &wire.StatsResult{
		Objects: st.Objects, Transactions: st.Transactions, LogBytes: st.LogBytes, BlobBytes: st.BlobBytes,
		DiskFree: st.DiskFree, Growth: st.Growth, Warnings: st.Warnings(), Dangling: s.Dangling,
		Kinds: []wire.KindSpace{}, Biggest: spaces(s.Biggest, names), Busiest: spaces(s.Busiest, names), Popular: []wire.Popular{},
	}
	for _, k := range s.Kinds {
		out.Kinds = append(out.Kinds, wire.KindSpace(k))
	}
	for _, p := range s.Popular {
		out.Popular = append(out.Popular, wire.Popular{Named: names.of(p.OID), Kind: p.Kind, From: p.From})
	}
	return &wire.CareResult{Stats: out}, nil
}

func spaces(list []image.Sized, names names) []wire.Space {
	out := []wire.Space{}
	for _, o := range list {
		out = append(out, wire.Space{Named: names.of(o.OID), Kind: o.Kind, Bytes: o.Bytes})
	}
	return out
}

func referrers(ctx context.Context, im *image.Image, of string) (*wire.CareResult, error) {
	names, err := namesOf(ctx, im)
	if err != nil {
		return nil, err
	}
	oid, err := batos.ParseOID(of)
	if err != nil {
		if oid, err = names.find(of); err != nil {
			return nil, err
		}
	}
	from, err := im.Referrers(ctx, oid)
	if err != nil {
		return nil, err
	}
	out := &wire.ReferrersResult{Of: oid.String(), From: []wire.Named{}}
	for _, o := range from {
		out.From = append(out.From, names.of(o))
	}
	return &wire.CareResult{Referrers: out}, nil
}

func pack(ctx context.Context, im *image.Image, in wire.Care, tell func(wire.CareEvent)) (*wire.CareResult, error) {
	before, err := wire.ParseMoment(in.Before)
	if err != nil {
		return nil, err
	}
	if now := batos.TIDAt(time.Now()); before > now {
		return nil, batos.Errorf(batos.Invalid, "%s is still to come: give a moment of the past", in.Before)
	}
	r, err := kernel.Pack(ctx, im, kernel.PackOptions{
		Before: before.Time(), Forget: in.Forget, DryRun: in.DryRun,
		Progress: func(p store.PackProgress) {
			tell(wire.CareEvent{Progress: &wire.CareProgress{Done: p.Done, Total: p.Total}})
		},
	})
	if err != nil {
		return nil, err
	}
	return &wire.CareResult{Pack: &wire.PackResult{
		Before: r.Before.String(), DryRun: in.DryRun, Segments: r.Segments, Revisions: r.Revisions, Transactions: r.Transactions,
		Messages: r.Messages, Kept: r.Kept, Bytes: r.Bytes, Blobs: r.Blobs, BlobBytes: r.BlobBytes,
	}}, nil
}

func backup(ctx context.Context, im *image.Image, in wire.Care, tell func(wire.CareEvent)) (*wire.CareResult, error) {
	r, err := im.Backup(ctx, in.Folder)
	if err != nil {
		return nil, err
	}
	return &wire.CareResult{Backup: &wire.BackupResult{
		First: r.First, Last: r.Last.String(), Time: r.Last.Time().UTC(), LogBytes: r.LogBytes, Blobs: r.Blobs, BlobBytes: r.BlobBytes,
	}}, nil
}

func export(ctx context.Context, im *image.Image, in wire.Care, tell func(wire.CareEvent)) (*wire.CareResult, error) {
	at, err := wire.ParseMoment(in.At)
	if err != nil {
		return nil, err
	}
	var r image.ExportReport
	lost := 0
	if in.Salvage {
		r, err = im.Salvage(ctx, in.Folder, func(p store.Problem) {
			lost++
			tell(wire.CareEvent{Problem: problem(p)})
		})
	} else {
		r, err = im.Export(ctx, in.Folder, at)
	}
	if err != nil {
		return nil, err
	}
	return &wire.CareResult{Export: &wire.ExportResult{
		At: r.At.String(), Objects: r.Objects, Trees: r.Trees, Blobs: r.Blobs, BlobBytes: r.BlobBytes, Lost: lost,
	}}, nil
}

// names are the root names by object.
type names map[batos.OID]string

// namesTree is what the tree of root names is called here; no root name has a
// space.
const namesTree = "root names"

func namesOf(ctx context.Context, im *image.Image) (names, error) {
	out := names{}
	err := im.View(ctx, func(tx *image.Tx) error {
		clear(out)
		out[batos.OID(tx.Names().ID())] = namesTree
		for e, err := range tx.Names().Range(nil, nil) {
			if err != nil {
				return err
			}
			name, _ := e.Key.(object.Str)
			oid, _ := e.Value.(object.Ref)
			if out[batos.OID(oid)] == "" {
				out[batos.OID(oid)] = string(name)
			}
		}
		return nil
	})
	return out, err
}

func (n names) of(oid batos.OID) wire.Named { return wire.Named{OID: oid.String(), Name: n[oid]} }

// find gives the object of a root name, in full or without _obj.
func (n names) find(name string) (short batos.OID, err error) {
	for oid, is := range n {
		switch is {
		case namesTree:
		case name:
			return oid, nil
		case name + "_obj":
			short = oid
		}
	}
	if short == 0 {
		err = batos.Errorf(batos.NotFound, "no object is named %.60q", name)
	}
	return short, err
}
