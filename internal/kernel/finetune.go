package kernel

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"batos"
	"batos/image"
	"batos/internal/mind"
	"batos/object"
)

// TrainOrder is what a [Trainer] is told.
type TrainOrder struct {
	Model   string // GGUF file of the model in use
	Data    string // file of lessons, one JSON object on each line
	Dir     string // of the checkpoints and the result; it outlives the order
	Old     string // GGUF file of the adapter in use, "" if the bare model is
	Name    string // of the new adapter
	Persona string
	Small   bool // the model has a few million weights
}

// TrainOutcome is what a trainer has made.
type TrainOutcome struct {
	File          string
	Before, After float64 // loss on lessons kept back: of the old adapter and of the new one
	Better        bool
}

// Trainer trains an adapter. When ctx ends it stops so that the same order
// goes on from there later.
type Trainer func(ctx context.Context, o TrainOrder, progress func(step, steps int, loss float64)) (TrainOutcome, error)

// TrainRequest asks for a training.
type TrainRequest struct {
	Persona string
	Name    string // of the new adapter; "" is the persona's with the next number: BRICK_LORA_V2
	Promote bool   // put a better adapter in the old one's place
}

// Job is a training as people see it.
type Job struct {
	OID           batos.OID
	Persona, Name string
	Status        string // queued, running, done, rejected (it is not better), failed
	By            string // who asked
	Lessons       int64
	Step, Steps   int64
	Loss          float64
	Before, After float64
	Promote       bool
	Result        batos.OID // of the proxy of the new adapter, 0 if there is none
	Error         string
	Began         object.Time
}

const (
	forgeObject  = "forge_obj"
	jobPrototype = "fine_tuning_job_obj"

	jobQueued, jobRunning, jobDone, jobRejected, jobFailed = "queued", "running", "done", "rejected", "failed"
)

// smallWeights is how many weights a small model has at most: one that learns
// at ten times the usual rate.
const smallWeights = 50_000_000

// Train begins a training on what the image has collected. It runs when those
// before it have ended, goes on at the next start if the system stops, and
// ends as an adapter in the image or with a reason. The error is offline if
// this kernel has no trainer or no model, invalid for an unknown persona, and
// refused if there is nothing to learn.
func (k *Kernel) Train(ctx context.Context, p Person, r TrainRequest) (Job, error) {
	if k.config.Trainer == nil {
		return Job{}, batos.Errorf(batos.Offline, "this system cannot train: it has no trainer")
	}
	if err := k.runs(); err != nil {
		return Job{}, err
	}
	if k.config.Remote {
		return Job{}, batos.Errorf(batos.Offline, "the model in use runs on a server; only a model in the image can be trained for")
	}
	r.Persona = strings.ToUpper(r.Persona)
	if r.Persona != mind.PersonaOf(mind.Method) {
		return Job{}, batos.Errorf(batos.Invalid, "the image collects lessons of %s's work only, which is methods; %s cannot be trained", mind.PersonaOf(mind.Method), quote(r.Persona))
	}
	lessons, _, err := k.Lessons(ctx)
	if err != nil {
		return Job{}, err
	}
	var data bytes.Buffer
	write := json.NewEncoder(&data)
	for _, l := range lessons {
		if err := write.Encode(l.Lesson); err != nil {
			return Job{}, err
		}
	}
	if len(lessons) == 0 {
		return Job{}, batos.Errorf(batos.Refused, "there is nothing to learn yet: no method was written, or none that this model has words for")
	}
	blob, err := k.im.NewBlob(ctx, &data)
	if err != nil {
		return Job{}, err
	}
	var job Job
	_, err = k.im.Update(ctx, func(tx *image.Tx) error {
		tx.SetMeta(p.meta("train an adapter of " + r.Persona))
		name := r.Name
		if name == "" {
			if name, err = k.nextName(tx, r.Persona); err != nil {
				return err
			}
		}
		if name, err = adapterName(name); err != nil {
			return err
		}
		prototype, ok, err := tx.Name(jobPrototype)
		if err != nil || !ok {
			return cmpNotFound(err, jobPrototype)
		}
		old, found, err := k.findAdapter(tx, r.Persona)
		if err != nil {
			return err
		}
		base, err := k.baseHash(tx)
		if err != nil {
			return err
		}
		slots := []object.Slot{
			{Name: "parent*", Value: object.Ref(prototype)},
			{Name: "persona", Value: object.Str(r.Persona)}, {Name: "adapter_name", Value: object.Str(name)},
			{Name: "status", Value: object.Str(jobQueued)}, {Name: "by", Value: object.Str(p.Name)}, {Name: "began", Value: k.now()},
			{Name: "promote", Value: object.Bool(r.Promote)}, {Name: "data_set", Value: blob}, {Name: "lessons", Value: object.NewInt(int64(len(lessons)))},
			{Name: "base_hash", Value: object.Str(base)}, {Name: "old_hash", Value: object.Str("")},
		}
		if found {
			slots[len(slots)-1].Value = object.Str(old.Hash)
		}
		oid, err := tx.Create(object.NewState(object.Protected, batos.Person, slots...))
		if err != nil {
			return err
		}
		jobs, err := forgeJobs(tx)
		if err != nil {
			return err
		}
		if err := jobs.Set(&object.Tuple{Items: []object.Value{k.now(), object.NewInt(int64(oid))}}, object.Ref(oid)); err != nil {
			return err
		}
		job, err = jobOf(tx, oid)
		return err
	})
	if err == nil {
		k.wakeForge()
	}
	return job, err
}

// nextName is the first name of a persona's adapters that is free.
func (k *Kernel) nextName(tx *image.Tx, persona string) (string, error) {
	repository, err := k.repository(tx)
	if err != nil {
		return "", err
	}
	for n := 2; ; n++ {
		name := persona + "_LORA_V" + object.NewInt(int64(n)).Big().String()
		if _, ok, err := repository.Get(object.Str(name)); err != nil || !ok {
			return name, err
		}
	}
}

func forgeJobs(tx *image.Tx) (*image.Tree, error) {
	oid, ok, err := tx.Name(forgeObject)
	if err != nil || !ok {
		return nil, cmpNotFound(err, forgeObject)
	}
	v, _, err := tx.Slot(oid, "jobs")
	if err != nil {
		return nil, err
	}
	t, ok := v.(object.Tree)
	if !ok {
		return nil, batos.Errorf(batos.Invalid, "%s.jobs is no tree any more; undo what changed it", forgeObject)
	}
	return tx.Tree(t), nil
}

func jobOf(tx *image.Tx, oid batos.OID) (Job, error) {
	st, err := tx.Load(oid)
	if err != nil {
		return Job{}, err
	}
	get := func(name string) object.Value { v, _ := st.Slot(name); return v }
	promote, _ := get("promote").(object.Bool)
	began, _ := get("began").(object.Time)
	return Job{
		OID: oid, Persona: strOf(get("persona")), Name: strOf(get("adapter_name")), Status: strOf(get("status")), By: strOf(get("by")),
		Lessons: intOf(get("lessons")), Step: intOf(get("step")), Steps: intOf(get("steps")), Loss: float64(float(get("loss"))),
		Before: float64(float(get("loss_before"))), After: float64(float(get("loss_after"))), Promote: bool(promote),
		Result: refOf(get("result")), Error: strOf(get("error")), Began: began,
	}, nil
}

// Jobs lists all trainings, the newest last.
func (k *Kernel) Jobs(ctx context.Context) (out []Job, err error) {
	err = k.im.View(ctx, func(tx *image.Tx) error {
		out = nil
		jobs, err := forgeJobs(tx)
		if err != nil {
			return err
		}
		for e, err := range jobs.Range(nil, nil) {
			if err != nil {
				return err
			}
			j, err := jobOf(tx, refOf(e.Value))
			if err != nil {
				return err
			}
			out = append(out, j)
		}
		return nil
	})
	return out, err
}

// wakeForge makes sure that open jobs are worked on: one goroutine takes them
// in turn and ends when there are none.
func (k *Kernel) wakeForge() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.config.Trainer == nil || k.forging || k.closed.Load() {
		return
	}
	k.forging = true
	k.work.Add(1)
	go func() {
		defer k.work.Done()
		for k.ctx.Err() == nil {
			j, ok := k.openJob()
			if !ok {
				return
			}
			k.forge(k.ctx, j)
		}
	}()
}

// openJob gives the first job that is not ended; if there is none, the Forge
// rests.
func (k *Kernel) openJob() (Job, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	all, err := k.Jobs(k.ctx)
	if err != nil {
		k.log.Error("the Forge cannot read its jobs", "reason", err)
	}
	for _, j := range all {
		if j.Status == jobQueued || j.Status == jobRunning {
			return j, true
		}
	}
	k.forging = false
	return Job{}, false
}

// forge works on one job until it has ended or the system stops.
func (k *Kernel) forge(ctx context.Context, j Job) {
	out, err := k.train(ctx, j)
	if ctx.Err() != nil {
		return // it goes on at the next start
	}
	var result []object.Slot
	if err == nil && out.Better {
		result, err = k.adopt(ctx, j, out)
	}
	end := []object.Slot{{Name: "loss_before", Value: object.Float(out.Before)}, {Name: "loss_after", Value: object.Float(out.After)}}
	switch {
	case err != nil:
		end = append(end, object.Slot{Name: "status", Value: object.Str(jobFailed)}, object.Slot{Name: "error", Value: object.Str(asError(err, batos.Raised).Text)})
	case !out.Better:
		end = append(end, object.Slot{Name: "status", Value: object.Str(jobRejected)})
	default:
		end = append(append(end, result...), object.Slot{Name: "status", Value: object.Str(jobDone)})
	}
	if err := k.jobSlots(ctx, j, "a training ended", end...); err != nil {
		k.log.Error("the end of a training cannot be kept", "job", j.OID, "reason", err)
		<-ctx.Done() // else it would be begun again and again
		return
	}
	_ = os.RemoveAll(k.jobDir(j)) // all that counts is in the image
}

func (k *Kernel) jobDir(j Job) string { return filepath.Join(k.config.ForgeDir, j.OID.String()) }

func (k *Kernel) jobSlots(ctx context.Context, j Job, note string, slots ...object.Slot) error {
	_, err := k.im.Update(ctx, func(tx *image.Tx) error {
		tx.SetMeta(image.Meta{Author: batos.Genesis, AuthorName: "the Forge", Note: note})
		for _, s := range slots {
			if err := tx.SetSlot(j.OID, s.Name, s.Value); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// progressEvery is how often a job's progress is committed.
const progressEvery = 5 * time.Second

func (k *Kernel) train(ctx context.Context, j Job) (TrainOutcome, error) {
	dir := k.jobDir(j)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return TrainOutcome{}, batos.Errorf(batos.Invalid, "training: %w", err)
	}
	o := TrainOrder{Data: filepath.Join(dir, "lessons.jsonl"), Dir: dir, Name: j.Name, Persona: j.Persona}
	var data, old object.Value
	var base, want string
	err := k.im.View(ctx, func(tx *image.Tx) (err error) {
		st, err := tx.Load(j.OID)
		if err != nil {
			return err
		}
		data, _ = st.Slot("data_set")
		old, _ = st.Slot("old_hash")
		b, _ := st.Slot("base_hash")
		want = strOf(b)
		base, err = k.baseHash(tx)
		return err
	})
	if err != nil {
		return TrainOutcome{}, err
	}
	if base != want {
		return TrainOutcome{}, batos.Errorf(batos.Invalid, "the training was for the model %.12s, and %.12s is in use now", want, base)
	}
	info, err := k.Core()
	if err != nil {
		return TrainOutcome{}, err
	}
	o.Small = info.Params < smallWeights
	blob, ok := data.(object.Blob)
	if !ok {
		return TrainOutcome{}, batos.Errorf(batos.Invalid, "the job has lost its data set")
	}
	if err := k.unpack(ctx, blob, o.Data); err != nil {
		return TrainOutcome{}, err
	}
	if hash := strOf(old); hash != "" {
		src, err := k.openAdapter(ctx, hash)
		if err != nil {
			return TrainOutcome{}, err
		}
		o.Old = filepath.Join(dir, "old.gguf")
		err = writeAll(o.Old, io.NewSectionReader(src, 0, src.Size()))
		if err = errors.Join(err, src.Close()); err != nil {
			return TrainOutcome{}, err
		}
	}
	m, err := k.Model(ctx)
	if err == nil && m == nil {
		err = batos.Errorf(batos.Offline, "the image has no model any more")
	}
	if err != nil {
		return TrainOutcome{}, err
	}
	o.Model = m.Path
	var last time.Time
	return k.config.Trainer(ctx, o, func(step, steps int, loss float64) {
		if now := k.clock(); now.Sub(last) >= progressEvery {
			last = now
			err := k.jobSlots(ctx, j, "a training goes on", object.Slot{Name: "status", Value: object.Str(jobRunning)},
				object.Slot{Name: "step", Value: object.NewInt(int64(step))}, object.Slot{Name: "steps", Value: object.NewInt(int64(steps))}, object.Slot{Name: "loss", Value: object.Float(loss)})
			if err != nil {
				k.log.Warn("the progress of a training is not kept", "job", j.OID, "reason", err)
			}
		}
	})
}

func (k *Kernel) unpack(ctx context.Context, blob object.Blob, path string) error {
	b, err := k.im.OpenBlob(ctx, blob)
	if err != nil {
		return err
	}
	return errors.Join(writeAll(path, io.NewSectionReader(b, 0, b.Size())), b.Close())
}

func writeAll(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return batos.Errorf(batos.Invalid, "training: %w", err)
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// adopt takes a better adapter into the image and, if the job says so, puts it
// in the old one's place.
func (k *Kernel) adopt(ctx context.Context, j Job, out TrainOutcome) ([]object.Slot, error) {
	f, err := os.Open(out.File)
	if err != nil {
		return nil, batos.Errorf(batos.Invalid, "training: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	a, _, err := k.ImportAdapter(ctx, Person{Name: j.By}, AdapterSource{
		Name: j.Name, Origin: "the Forge, job " + j.OID.String(), Weights: f, Size: st.Size(), Persona: j.Persona,
	})
	if err != nil {
		return nil, err
	}
	slots := []object.Slot{{Name: "result", Value: object.Ref(a.OID)}}
	if !j.Promote {
		return slots, nil
	}
	_, err = k.im.Update(ctx, func(tx *image.Tx) error {
		tx.SetMeta(Person{Name: j.By}.meta("promote adapter " + a.Name))
		oid, ok, err := tx.Name(codexObject)
		if err != nil || !ok {
			return cmpNotFound(err, codexObject)
		}
		v, _, err := tx.Slot(oid, j.Persona)
		if err != nil {
			return err
		}
		who, ok := v.(*object.Dict)
		if !ok {
			return batos.Errorf(batos.Invalid, "the codex has no %s any more", j.Persona)
		}
		now := new(dict)
		for _, e := range who.Entries {
			if name := strOf(e.Key); name != "adapter" {
				now.set(name, e.Value)
			}
		}
		return tx.SetSlot(oid, j.Persona, now.str("adapter", a.Name).value())
	})
	return slots, err
}
