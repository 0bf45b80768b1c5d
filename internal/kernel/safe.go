package kernel

import (
	"context"

	"batos"
	"batos/genesis"
	"batos/image"
	"batos/internal/guardian"
	"batos/internal/method"
	"batos/object"
)

// importedSlot of kernel_obj says, until a person accepts it, that the image
// came from elsewhere, and from where.
const importedSlot = "imported"

// runs is the error for what would run code of the image in safe mode.
func (k *Kernel) runs() error {
	if k.safe == "" {
		return nil
	}
	return batos.Errorf(batos.Denied, "%s: no code of the image runs; inspect, log, diff, undo, set and def work", k.safe)
}

// Safe tells why the image was started without running any of its code, or "".
func (k *Kernel) Safe() string { return k.safe }

// enterSafe decides whether code of the image may run.
func (k *Kernel) enterSafe(ctx context.Context) error {
	from, err := Foreign(ctx, k.im)
	switch {
	case err != nil:
		return err
	case k.config.Safe:
		k.safe = "batos up was started with --safe"
	case from != "":
		k.safe = "the image was brought in as " + from + " and nobody has accepted it yet (batos image accept)"
	default:
		return nil
	}
	k.core.reason = batos.Errorf(batos.Offline, "%s", k.safe)
	return nil
}

// Foreign tells as what an image was imported that nobody has accepted yet, or
// "".
func Foreign(ctx context.Context, im *image.Image) (from string, err error) {
	err = im.View(ctx, func(tx *image.Tx) error {
		kernel, ok, err := tx.Name(rootName)
		if err != nil || !ok {
			return err
		}
		v, _, err := tx.Slot(kernel, importedSlot)
		from = strOf(v)
		return err
	})
	return from, err
}

// Import fills an empty image from the folder of an export. Methods that are
// exactly those this release ships stay the release's own; every other becomes
// imported code, after the Guardian has looked at it. Records of where methods
// came from are kept as quotations that nothing relies on. The image starts in
// safe mode until [Accept].
func Import(ctx context.Context, im *image.Image, dir string) (image.ExportReport, error) {
	shipped, primitives, err := shippedSources()
	if err != nil {
		return image.ExportReport{}, err
	}
	r, err := im.Import(ctx, dir, image.ImportOptions{
		Meta: image.Meta{Note: "import"},
		Own: func(_ string, m *object.Method) bool {
			return m.Author == batos.Genesis && shipped[shippedMethod{m.Selector, m.Source}]
		},
		Audit: func(_ string, m *object.Method) error {
			if shipped[shippedMethod{m.Selector, m.Source}] {
				return nil
			}
			report, err := guardian.Audit(m.Source, guardian.Options{Selector: m.Selector})
			if err == nil {
				err = report.Err()
			}
			return err
		},
		Primitive: func(name string) bool { return primitives[name] },
		Record:    quoted,
	})
	if err != nil {
		return r, err
	}
	_, err = im.Update(ctx, func(tx *image.Tx) error {
		tx.SetMeta(image.Meta{Author: batos.Genesis, AuthorName: "genesis " + genesis.Release, Note: "wait for a person to accept " + r.Author})
		kernel, ok, err := tx.Name(rootName)
		if err != nil || !ok {
			return err
		}
		return tx.SetSlot(kernel, importedSlot, object.Str(r.Author))
	})
	return r, err
}

// shippedMethod is a method as the release has it, on whichever object: copies
// of genesis objects have the methods of the original.
type shippedMethod struct {
	selector batos.Selector
	source   string
}

// shippedSources gives the methods that this release ships, and the primitives
// that its objects hold.
func shippedSources() (map[shippedMethod]bool, map[string]bool, error) {
	files, err := genesis.Files()
	if err != nil {
		return nil, nil, err
	}
	sources, primitives := map[shippedMethod]bool{}, map[string]bool{}
	for _, f := range files {
		defs, err := method.ParseFile(f.Name+".star", f.Source)
		if err != nil {
			return nil, nil, err
		}
		for _, d := range defs {
			if d.Kind == method.DefMethod {
				sources[shippedMethod{batos.Selector(d.Name), d.Source}] = true
			}
			if p, ok := d.Value.(object.Primitive); ok {
				primitives[string(p)] = true
			}
		}
	}
	return sources, primitives, nil
}

// quoted makes records that the kernel would rely on mere quotations.
func quoted(s *object.State) *object.State {
	v, _ := s.Slot("kind")
	switch kind := strOf(v); kind {
	case "provenance", "verdict":
		if s.Protection == object.Sealed {
			return s.With("kind", object.Str("quoted "+kind))
		}
	}
	return s
}

// Accept lets the code of an imported image run, on a person's word: imported
// methods get the authority of generated code, and keep the name of the import
// as their author. It answers how many there are.
func Accept(ctx context.Context, im *image.Image, p Person) (methods int, err error) {
	from, err := Foreign(ctx, im)
	if err != nil {
		return 0, err
	}
	if from == "" {
		return 0, batos.Errorf(batos.Conflict, "the image was not imported, or was accepted already")
	}
	oids, err := im.Objects(ctx)
	if err != nil {
		return 0, err
	}
	_, err = im.Update(ctx, func(tx *image.Tx) error {
		methods = 0
		tx.SetMeta(p.meta("accept " + from))
		for _, oid := range oids {
			s, err := tx.Load(oid)
			if batos.CodeOf(err) == batos.NotFound {
				continue
			}
			if err != nil {
				return err
			}
			for _, sl := range s.Slots() {
				m, ok := sl.Value.(*object.Method)
				if !ok || m.Author != batos.Imported {
					continue
				}
				c := *m
				c.Author = batos.Persona
				if err := tx.SetSlot(oid, sl.Name, &c); err != nil {
					return err
				}
				methods++
			}
		}
		kernel, _, err := tx.Name(rootName)
		if err != nil {
			return err
		}
		return tx.DeleteSlot(kernel, importedSlot)
	})
	return methods, err
}
