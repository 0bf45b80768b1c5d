package kernel

import (
	"cmp"
	"context"
	"math"
	"slices"

	"batos"
	"batos/image"
	"batos/internal/codec"
	"batos/object"
)

// Mission is a cognitive cycle as people see it.
type Mission struct {
	OID          batos.OID // of the cycle
	Receiver     batos.OID
	ReceiverName string
	Selector     batos.Selector
	State        string // of the cycle: "IDLE" … "COMPLETE"
	Status       string // "open", "pending", "complete", "failed", "cancelled"
	Began, Ended object.Time
	Attempts     int
	Tokens       int64
	PromptTokens int64
	Inferences   int
	Waiting      []batos.MessageID
	Err          *batos.Error
	Data         *object.Dict // _tmp_synthesis_data: plan, attempts, times
	Brief        *object.Dict
	Version      int64 // of the method that was installed, or 0
	Gone         bool  // what was installed is not what answers the selector now
}

// Missions lists all missions, the newest last.
func (k *Kernel) Missions(ctx context.Context) ([]Mission, error) {
	out, _, err := k.NewestMissions(ctx, math.MaxInt)
	return out, err
}

// missionsAside is how many missions may have an OID above that of a newer one:
// transactions under way take OIDs in batches.
const missionsAside = 256

// NewestMissions lists at most n missions, the newest last; more says that there
// are older ones.
func (k *Kernel) NewestMissions(ctx context.Context, n int) (out []Mission, more bool, err error) {
	err = k.im.View(ctx, func(tx *image.Tx) error {
		out, more = nil, false
		var found []*docket
		for e, err := range tx.Tree(k.roots.missions).Backward(nil, nil) {
			if err != nil {
				return err
			}
			if len(found)-missionsAside >= n {
				more = true
				break
			}
			d, err := loadDocket(tx, refOf(e.Value))
			if err != nil {
				return err
			}
			found = append(found, d)
		}
		slices.SortFunc(found, func(a, b *docket) int {
			return cmp.Or(cmp.Compare(a.Began, b.Began), cmp.Compare(a.Cycle, b.Cycle))
		})
		if over := len(found) - n; over > 0 {
			found, more = found[over:], true
		}
		for _, d := range found {
			m, err := missionBy(tx, d)
			if err != nil {
				return err
			}
			out = append(out, m)
		}
		return nil
	})
	return out, more, err
}

// Mission shows one mission by the OID of its cycle.
func (k *Kernel) Mission(ctx context.Context, cycle batos.OID) (Mission, error) {
	m, err := k.mission(ctx, cycle)
	if batos.CodeOf(err) == batos.NotFound { // whoever waits for it is known a moment before it is durable
		k.missions.Lock()
		defer k.missions.Unlock()
		return k.mission(ctx, cycle)
	}
	return m, err
}

func (k *Kernel) mission(ctx context.Context, cycle batos.OID) (m Mission, err error) {
	err = k.im.View(ctx, func(tx *image.Tx) error {
		m, err = missionOf(tx, docketOID(cycle))
		if batos.CodeOf(err) == batos.NotFound {
			return batos.Errorf(batos.NotFound, "no mission %s", cycle)
		}
		return err
	})
	return m, err
}

func missionOf(tx *image.Tx, doc batos.OID) (Mission, error) {
	d, err := loadDocket(tx, doc)
	if err != nil {
		return Mission{}, err
	}
	return missionBy(tx, d)
}

// missionBy is the mission that a docket is about.
func missionBy(tx *image.Tx, d *docket) (m Mission, err error) {
	m = Mission{
		OID: d.Cycle, Receiver: d.Receiver, Selector: d.Selector, Status: d.State, Began: d.Began, Ended: d.Ended,
		Tokens: d.Tokens, PromptTokens: d.Prompted, Inferences: len(d.Inferences), Waiting: d.Waiting, Err: d.Err, Version: d.Installed,
	}
	if m.ReceiverName, err = nameOf(tx, d.Receiver); err != nil {
		return Mission{}, err
	}
	if m.State, err = cycleState(tx, d.Cycle); err != nil {
		return Mission{}, err
	}
	for name, to := range map[string]**object.Dict{"_tmp_synthesis_data": &m.Data, "mission_brief": &m.Brief} {
		v, _, err := tx.Slot(d.Cycle, name)
		if err != nil {
			return Mission{}, err
		}
		*to, _ = v.(*object.Dict)
	}
	if m.Version > 0 {
		if m.Gone, err = isGone(tx, d); err != nil {
			return Mission{}, err
		}
	}
	if m.Data != nil {
		m.Attempts = len(fieldsOf(m.Data).list("attempts"))
	}
	return m, nil
}

// isGone reports whether the receiver understands a mission's selector no
// longer by the method that the mission installed, on it or on a parent.
func isGone(tx *image.Tx, d *docket) (bool, error) {
	v, _, _, err := tx.Lookup(d.Receiver, string(d.Selector))
	if batos.CodeOf(err) == batos.NotFound {
		return true, nil // the receiver ended
	}
	m, ok := v.(*object.Method)
	return !ok || m.Mission != d.Cycle, err
}

// cycleState is the name of the state prototype that a cycle delegates to.
func cycleState(tx *image.Tx, cycle batos.OID) (string, error) {
	in, err := stateSlot(tx, cycle)
	if err != nil {
		return "", err
	}
	v, _, err := tx.Slot(cycle, in)
	if err != nil {
		return "", err
	}
	r, ok := v.(object.Ref)
	if !ok {
		return "", nil
	}
	name, _, err := tx.Slot(batos.OID(r), "name")
	return strOf(name), err
}

// stateSlot is the slot in which a cycle holds its state: contexts of the
// orchestrator have one of their own.
func stateSlot(tx *image.Tx, cycle batos.OID) (string, error) {
	_, ok, err := tx.Slot(cycle, "current_state*")
	if ok {
		return "current_state*", err
	}
	return "synthesis_state*", err
}

// Approve lets the method of a mission that awaits a person's approval be
// installed, and Reject ends such a mission; a rejection is a correction.
func (k *Kernel) Approve(ctx context.Context, p Person, cycle batos.OID) error {
	m, err := k.Mission(ctx, cycle)
	if err != nil {
		return err
	}
	if m.Status != "pending" {
		return batos.Errorf(batos.Conflict, "the mission %s does not await approval: it is %s", cycle, m.Status)
	}
	return k.order(ctx, p, cycle, "approved_", object.Ref(cycle))
}

// Reject ends a mission that awaits approval.
func (k *Kernel) Reject(ctx context.Context, p Person, cycle batos.OID) error {
	m, err := k.Mission(ctx, cycle)
	if err != nil {
		return err
	}
	if m.Status != "pending" {
		return batos.Errorf(batos.Conflict, "the mission %s does not await approval: it is %s", cycle, m.Status)
	}
	_, err = k.im.Update(ctx, func(tx *image.Tx) error {
		tx.SetMeta(p.meta("reject"))
		source := fieldsOf(m.Data).str("final_response")
		return k.recordCorrection(tx, p, "reject", m.Receiver, string(m.Selector), cycle, object.Str(source), nil)
	})
	if err != nil {
		return err
	}
	return k.Cancel(ctx, p, cycle)
}

// Cancel stops a mission wherever it is. The messages that wait for it end as
// cancelled.
func (k *Kernel) Cancel(ctx context.Context, p Person, cycle batos.OID) error {
	m, err := k.Mission(ctx, cycle)
	if err != nil {
		return err
	}
	if m.Status != "open" && m.Status != "pending" {
		return batos.Errorf(batos.Conflict, "the mission %s is over: it is %s", cycle, m.Status)
	}
	k.mu.Lock()
	for _, f := range k.flights {
		if f.cycle == cycle {
			f.doom()
		}
	}
	k.mu.Unlock()
	// The step under way may end the mission now that it is doomed, or be over
	// before it notices; so the mission is told besides.
	told := k.order(ctx, p, cycle, "transitionTo_", object.Str("CANCELLED"))
	if told == nil {
		return nil
	}
	if m, err = k.Mission(ctx, cycle); err != nil {
		return err
	}
	switch m.Status {
	case "cancelled":
		return nil
	case "open", "pending":
		return k.closeMission(cycle) // its own workflow cannot
	}
	return told
}

// doom cancels a message: its effect ends now, its run at the next chance.
func (f *flight) doom() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.doomed = true
	if f.cancel != nil {
		f.cancel()
	}
}

// order sends a workflow object a message on a person's word and waits.
func (k *Kernel) order(ctx context.Context, p Person, to batos.OID, sel batos.Selector, arg object.Value) error {
	if err := k.runs(); err != nil {
		return err
	}
	args := codec.EncodeArgs([]object.Value{arg}, nil)
	id := batos.NewMessageID()
	rec := &record{
		Message: batos.Message{ID: id, Lineage: id, Sender: p.Name, Target: to, Selector: sel, Args: args, Authority: batos.Person},
		State:   batos.Queued, Received: k.now(), Left: k.config.Lineage,
	}
	f, _ := k.claim(rec, false) // the id is new
	k.accept(f)
	o, err := k.wait(ctx, f)
	if err == nil && o.Err != nil {
		err = o.Err
	}
	return err
}

// Inspection is an object as people see it.
type Inspection struct {
	OID        batos.OID
	Name       string
	TID        batos.TID // of the revision shown
	Protection object.Protection
	Creator    batos.Authority
	State      *object.State
	Parents    []Named
	Names      map[batos.OID]string             // of the objects its slots refer to
	Provenance map[batos.Selector]*object.State // of its generated methods
}

// Named is an object and its root name.
type Named struct {
	OID  batos.OID
	Name string
}

// Inspect shows an object; at zero is now.
func (k *Kernel) Inspect(ctx context.Context, target batos.Ref, at batos.TID) (*Inspection, error) {
	var tx *image.Tx
	var err error
	if at == 0 {
		tx, err = k.im.Begin(ctx)
	} else {
		tx, err = k.im.BeginAt(ctx, at)
	}
	if err != nil {
		return nil, err
	}
	defer tx.Abort()
	oid, err := resolve(tx, target)
	if err != nil {
		return nil, err
	}
	s, err := tx.Load(oid)
	if err != nil {
		return nil, err
	}
	in := &Inspection{OID: oid, TID: tx.Snapshot(), Protection: s.Protection, Creator: s.Creator, State: s,
		Names: map[batos.OID]string{}, Provenance: map[batos.Selector]*object.State{}}
	if in.Name, err = nameOf(tx, oid); err != nil {
		return nil, err
	}
	for _, p := range s.Parents() {
		n, err := nameOf(tx, p)
		if err != nil {
			return nil, err
		}
		in.Parents = append(in.Parents, Named{p, n})
	}
	for _, slot := range s.Slots() {
		switch v := slot.Value.(type) {
		case object.Ref:
			if in.Names[batos.OID(v)], err = nameOf(tx, batos.OID(v)); err != nil {
				return nil, err
			}
		case *object.Method:
			if v.Provenance == 0 {
				continue
			}
			p, err := tx.Load(v.Provenance)
			if err != nil {
				return nil, err
			}
			in.Provenance[v.Selector] = p
		}
	}
	for rev, err := range k.im.History(ctx, oid) {
		if err != nil {
			return nil, err
		}
		if rev.TID <= in.TID {
			in.TID = rev.TID
			break
		}
	}
	return in, nil
}
