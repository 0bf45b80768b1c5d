package kernel

import (
	"context"
	"time"

	"batos"
	"batos/image"
)

// Observation is something that ended, for those who measure: metrics and
// traces. Nothing depends on it.
type Observation struct {
	Kind    ObservationKind
	Message batos.MessageID // the message itself, or the one that asked for the inference, or that began the mission
	Lineage batos.MessageID
	Mission batos.OID // the mission it is part of, or that ended; 0 outside
	Name    string    // selector of a message or mission, persona of an inference
	Start   time.Time
	End     time.Time
	Code    batos.Code // "" if it ended well
	State   string     // of a mission, whose work the message or inference was; "" outside

	Model, Adapter       string // of an inference
	Tokens, PromptTokens int    // of an inference or a mission
}

// ObservationKind says what ended.
type ObservationKind string

const (
	ObservedMessage   ObservationKind = "message"
	ObservedMission   ObservationKind = "mission"
	ObservedInference ObservationKind = "inference"
)

// observeMessage tells that a message has its outcome.
func (k *Kernel) observeMessage(f *flight, o Outcome) {
	if k.config.Observe == nil {
		return
	}
	k.config.Observe(Observation{
		Kind: ObservedMessage, Message: f.id, Lineage: f.lineage, Mission: f.cycle, Name: f.selector,
		Start: f.received, End: k.clock(), Code: codeOf(o.Err), State: f.worksOn(),
	})
}

// observeInference tells that an inference ended, well or not.
func (k *Kernel) observeInference(f *flight, persona, model, adapter string, tokens, prompted int, began time.Time, err error) {
	if k.config.Observe == nil {
		return
	}
	k.config.Observe(Observation{
		Kind: ObservedInference, Message: f.id, Lineage: f.lineage, Mission: f.cycle, Name: persona,
		Start: began, End: k.clock(), Code: batos.CodeOf(err), Model: model, Adapter: adapter, Tokens: tokens, PromptTokens: prompted, State: f.worksOn(),
	})
}

// noteState keeps for observers which state a step of a mission begins in.
func (k *Kernel) noteState(tx *image.Tx, f *flight) {
	if k.config.Observe == nil || f.cycle == 0 || f.rec.Target != f.cycle || f.worksOn() != "" {
		return
	}
	state, err := cycleState(tx, f.cycle)
	if err != nil {
		return // the message meets it, too
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.step = state
}

// worksOn is the state of the mission that the message is a step of, or "".
func (f *flight) worksOn() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.step
}

// observeMission tells that a mission ended, by what its docket says.
func (k *Kernel) observeMission(cycle batos.OID) {
	if k.config.Observe == nil {
		return
	}
	var o Observation
	err := k.im.View(k.live(), func(tx *image.Tx) error {
		d, err := loadDocket(tx, docketOID(cycle))
		if err != nil {
			return err
		}
		o = Observation{
			Kind: ObservedMission, Mission: cycle, Name: string(d.Selector), Start: d.Began.AsTime(), End: d.Ended.AsTime(),
			Code: codeOf(d.Err), Tokens: int(d.Tokens), PromptTokens: int(d.Prompted),
		}
		if d.State == "cancelled" {
			o.Code = batos.Cancelled
		}
		if len(d.Waiting) == 0 {
			return nil
		}
		o.Message, o.Lineage = d.Waiting[0], d.Waiting[0]
		rec, err := loadRecord(tx, o.Message)
		if err == nil && rec != nil {
			o.Lineage = rec.Lineage
		}
		return err
	})
	if err != nil {
		k.log.Debug("a mission that ended cannot be observed", "mission", cycle, "error", err)
		return
	}
	k.config.Observe(o)
}

func codeOf(err *batos.Error) batos.Code {
	if err == nil {
		return ""
	}
	return err.Code
}

// Load is what the kernel is busy with.
type Load struct {
	InFlight int // messages that are not final
	Parked   int // of them, wait for a mission
	Waiting  int // of them, wait for an effect
	Offline  bool
}

// Load counts what is under way.
func (k *Kernel) Load(context.Context) Load {
	k.mu.Lock()
	flights := make([]*flight, 0, len(k.flights))
	for _, f := range k.flights {
		flights = append(flights, f)
	}
	k.mu.Unlock()
	l := Load{InFlight: len(flights)}
	for _, f := range flights {
		switch f.snapshot().State {
		case batos.Parked:
			l.Parked++
		case batos.Suspended:
			l.Waiting++
		}
	}
	_, err := k.Core()
	l.Offline = err != nil
	return l
}
