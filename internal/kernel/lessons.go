package kernel

import (
	"context"

	"batos"
	"batos/image"
	"batos/internal/mind"
	"batos/object"
)

// Lesson is an example of BRICK's work that the image itself has collected.
type Lesson struct {
	mind.Lesson
	From    string // "correction": what a person wrote instead; "kept": what a mission wrote and nobody changed
	Mission batos.OID
}

// Lessons collects the golden set: of each mission that wrote a method, what
// a person put in its place, or else the method itself if it is still there.
// Rejected and removed methods teach nothing. They are told in the words of
// the model in use; skipped counts those that it has no words for. The error
// is offline without a model, refused if its profile does not teach.
func (k *Kernel) Lessons(ctx context.Context) (out []Lesson, skipped int, err error) {
	_, profile, _, err := k.core.use()
	if err != nil {
		return nil, 0, err
	}
	teacher, ok := profile.(mind.Teacher)
	if !ok {
		return nil, 0, batos.Errorf(batos.Refused, "models of the profile %q cannot be taught", profile.Name())
	}
	err = k.im.View(ctx, func(tx *image.Tx) error {
		out, skipped = nil, 0
		corrected, err := k.corrected(tx)
		if err != nil {
			return err
		}
		for e, err := range tx.Tree(k.roots.missions).Range(nil, nil) {
			if err != nil {
				return err
			}
			m, err := missionOf(tx, refOf(e.Value))
			if err != nil {
				return err
			}
			l := Lesson{From: "correction", Mission: m.OID}
			source, ok := corrected[m.OID]
			if !ok {
				l.From = "kept"
				if source, err = keptMethod(tx, m); err != nil {
					return err
				}
			}
			if source == "" || m.Brief == nil {
				continue
			}
			task := taskFrom(string(mind.Method), m.Brief)
			if task.Rules, task.Grammar, err = promptFor(tx, mind.PersonaOf(mind.Method), string(mind.Method), profile.Name()); err != nil {
				return err
			}
			if l.Lesson, err = teacher.Lesson(task, source); err != nil {
				skipped++ // it has no words for it
				continue
			}
			out = append(out, l)
		}
		return nil
	})
	return out, skipped, err
}

// corrected gives the last source that a person put in the place of each
// mission's method; "" where it was taken away.
func (k *Kernel) corrected(tx *image.Tx) (map[batos.OID]string, error) {
	out := map[batos.OID]string{}
	for e, err := range tx.Tree(k.roots.corrections).Range(nil, nil) {
		if err != nil {
			return nil, err
		}
		c := refOf(e.Value)
		mission, _, err := tx.Slot(c, "mission")
		if err != nil {
			return nil, err
		}
		after, _, err := tx.Slot(c, "after")
		if err != nil {
			return nil, err
		}
		if m := refOf(mission); m != 0 {
			out[m] = strOf(after)
		}
	}
	return out, nil
}

// keptMethod is the source that a mission installed, if it is still there.
func keptMethod(tx *image.Tx, m Mission) (string, error) {
	if m.Version == 0 {
		return "", nil
	}
	v, _, err := tx.Slot(m.Receiver, string(m.Selector))
	if batos.CodeOf(err) == batos.NotFound {
		return "", nil // the object is gone
	}
	if err != nil {
		return "", err
	}
	method, ok := v.(*object.Method)
	if !ok || method.Mission != m.OID {
		return "", nil
	}
	return method.Source, nil
}
