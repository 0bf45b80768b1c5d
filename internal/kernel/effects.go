package kernel

import (
	"context"
	"errors"
	"strings"
	"time"

	"batos"
	"batos/image"
	"batos/internal/exec"
	"batos/internal/mind"
	"batos/object"
)

// inferTimeout bounds one inference, waiting in the engine's queue included.
const inferTimeout = 5 * time.Minute

// carryOut does what a suspended message wants of the world, writes the result
// into its journal durably, and answers true when the message can run again.
// Nothing is held meanwhile: no mailbox, no transaction.
//
// A message the image does not know yet is kept before its effect begins, so
// that a crash resumes it. All effects of this release are repeatable: after a
// crash one without a result is done again.
func (k *Kernel) carryOut(f *flight, w *exec.WantedEffect) bool {
	if w.External {
		k.fail(f, batos.Errorf(batos.Denied, "%s would change the world outside; this release allows no such effect", w.Kind))
		return false
	}
	if !f.stored.Load() {
		if err := k.keep(k.live(), f, batos.Suspended, nil); err != nil {
			k.broken(f, asError(err, batos.Invalid))
			return false
		}
	}
	ctx, cancel := context.WithCancel(k.ctx)
	defer cancel()
	if !f.suspend(cancel) {
		k.fail(f, batos.Errorf(batos.Cancelled, "message %s was cancelled", f.rec.ID))
		return false
	}
	result, book, err := k.effect(ctx, f, w)
	if errors.Is(context.Cause(k.ctx), errStopping) {
		return false // durable as suspended; the next start does it again
	}
	if f.isDoomed() {
		k.fail(f, batos.Errorf(batos.Cancelled, "message %s was cancelled", f.rec.ID))
		return false
	}
	var failure *batos.Error
	if err != nil {
		failure = asError(err, batos.Raised)
	}
	f.rec.Journal = append(f.rec.Journal, w.Done(result, failure))
	if err := k.keep(k.live(), f, batos.Suspended, book); err != nil {
		k.broken(f, asError(err, batos.Invalid))
		return false
	}
	return true
}

// suspend notes how to end the effect; false if f was cancelled before.
func (f *flight) suspend(cancel context.CancelFunc) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state, f.cancel = batos.Suspended, cancel
	return !f.doomed
}

// effect carries out w. What it wants on record, book writes in the same
// transaction as the journal's entry.
func (k *Kernel) effect(ctx context.Context, f *flight, w *exec.WantedEffect) (result object.Value, book func(*image.Tx) error, err error) {
	switch w.Kind {
	case exec.EffectInfer:
		return k.infer(ctx, f, w)
	case exec.EffectTrial:
		return k.trial(ctx, f, w.Args, w.Seq)
	case effectEmbed:
		v, err := k.embed(ctx, fieldsOf(w.Args))
		return v, nil, err
	case effectTier:
		return k.moveTier(ctx, fieldsOf(w.Args)), nil, nil
	}
	return nil, nil, batos.Errorf(batos.Invalid, "this release knows no effect of kind %q", w.Kind)
}

// adapterFor is the persona whose adapter a work is done under: the one that
// was asked. A specialist's adapters know nothing but their own persona's
// work, so other work of hers, as a second opinion of ALFRED's, is done by the
// bare model.
func adapterFor(profile mind.Profile, persona, work string) string {
	if _, special := profile.(mind.Specialist); special && work != "" && mind.PersonaOf(kindOf(work)) != persona {
		return ""
	}
	return persona
}

// infer asks the engine. The seed of a request that has none follows from the
// message and the place in its journal, so that an inference that has to be
// done again gives the same answer.
func (k *Kernel) infer(ctx context.Context, f *flight, w *exec.WantedEffect) (object.Value, func(*image.Tx) error, error) {
	engine, profile, info, err := k.core.use()
	if err != nil {
		return nil, nil, err
	}
	args := fieldsOf(w.Args)
	request := requestFrom(args.get("request"))
	if request.Seed == 0 {
		request.Seed = uint64(batos.DeriveOID("seed", string(f.rec.ID)+w.Kind)) + uint64(w.Seq)
	}
	if request.MaxTokens, err = f.ledger.infer(request.MaxTokens); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, inferTimeout)
	defer cancel()
	began := k.clock()
	hash, release, err := k.lease(ctx, adapterFor(profile, args.str("persona"), args.str("kind")))
	if err != nil {
		f.ledger.unused(request.MaxTokens)
		return nil, nil, err
	}
	defer release()
	request.Adapter = hash
	res, err := mind.Ask(ctx, engine, request)
	if err != nil {
		k.observeInference(f, args.str("persona"), info.ModelID, request.Adapter, 0, 0, began, err)
		f.ledger.unused(request.MaxTokens)
		return nil, nil, err
	}
	k.observeInference(f, args.str("persona"), info.ModelID, res.AdapterHash, len(res.Tokens), res.PromptTokens, began, nil)
	f.ledger.unused(request.MaxTokens - res.Written())
	f.owed = f.owed.plus(spending{inferences: 1, tokens: int64(res.Written())})
	res.Text = strings.ToValidUTF8(res.Text, "\uFFFD") // bytes that a model cut off or made up cannot be kept as text
	took := inference{
		Persona: args.str("persona"), Kind: args.str("kind"), Adapter: res.AdapterHash, Model: info.ModelID, Hash: res.Model, Prompt: args.str("prompt"), Answer: res.Text,
		Tokens: int64(len(res.Tokens)), PromptTokens: int64(res.PromptTokens), Millis: k.clock().Sub(began).Milliseconds(),
	}
	book := func(tx *image.Tx) error {
		if f.rec.Cycle == 0 {
			return nil
		}
		d, err := loadDocket(tx, docketOID(f.rec.Cycle))
		if err != nil {
			return err
		}
		d.Inferences = append(d.Inferences, took)
		d.Tokens += took.Tokens
		d.Prompted += took.PromptTokens
		return d.save(tx)
	}
	return resultValue(res, info), book, nil
}

// requestValue and requestFrom carry a request to the engine through the
// image and a message's journal.
func requestValue(r mind.Request) *object.Dict {
	d := new(dict).str("text", r.Text)
	if len(r.Tokens) > 0 {
		d.set("tokens", intList(r.Tokens))
	}
	if len(r.Again) > 0 {
		l := &object.List{}
		for _, tokens := range r.Again {
			l.Items = append(l.Items, intList(tokens))
		}
		d.set("again", l)
	}
	if len(r.Chat) > 0 {
		l := &object.List{}
		for _, t := range r.Chat {
			l.Items = append(l.Items, new(dict).str("role", string(t.Role)).str("text", t.Text).value())
		}
		d.set("chat", l)
	}
	stops := &object.List{}
	for _, t := range r.StopTokens {
		stops.Items = append(stops.Items, object.NewInt(int64(t)))
	}
	return d.str("adapter", r.Adapter).str("grammar", r.Grammar).str("schema", r.Schema).set("stop", strList(r.Stop)).set("stop_tokens", stops).
		int("max_tokens", int64(r.MaxTokens)).set("temperature", object.Float(r.Temperature)).set("top_p", object.Float(r.TopP)).
		int("seed", int64(r.Seed)).int("draws", int64(r.Draws)).value()
}

func requestFrom(v object.Value) mind.Request {
	f := fieldsOf(v)
	r := mind.Request{
		Text: f.str("text"), Adapter: f.str("adapter"), Grammar: f.str("grammar"), Schema: f.str("schema"), Stop: stringsOf(f.get("stop")),
		MaxTokens: int(f.int("max_tokens")), Temperature: float(f.get("temperature")), TopP: float(f.get("top_p")), Seed: uint64(f.int("seed")),
	}
	r.Tokens, r.Draws = int32sOf(f.get("tokens")), int(f.int("draws"))
	for _, tokens := range f.list("again") {
		r.Again = append(r.Again, int32sOf(tokens))
	}
	for _, t := range f.list("stop_tokens") {
		r.StopTokens = append(r.StopTokens, int32(intOf(t)))
	}
	for _, t := range f.list("chat") {
		turn := fieldsOf(t)
		r.Chat = append(r.Chat, mind.Turn{Role: mind.Role(turn.str("role")), Text: turn.str("text")})
	}
	if len(r.Tokens) > 0 || len(r.Chat) > 0 {
		r.Text = ""
	}
	return r
}

func float(v object.Value) float32 {
	switch v := v.(type) {
	case object.Float:
		return float32(v)
	case object.Int:
		i, _ := v.Int64()
		return float32(i)
	}
	return 0
}

func resultValue(r *mind.Result, info mind.Info) *object.Dict {
	d := answerDict(r).int("tokens", int64(len(r.Tokens))).int("prompt_tokens", int64(r.PromptTokens)).
		str("model", info.ModelID).str("model_hash", r.Model).str("adapter", r.AdapterHash)
	if len(r.Again) > 0 {
		l := &object.List{}
		for i := range r.Again {
			l.Items = append(l.Items, answerDict(&r.Again[i]).value())
		}
		d.set("again", l)
	}
	return d.value()
}

// answerDict holds what a model wrote and how sure it was of it.
func answerDict(r *mind.Result) *dict {
	logprobs := &object.List{}
	for _, p := range r.Logprobs {
		logprobs.Items = append(logprobs.Items, object.Float(p))
	}
	return new(dict).str("text", strings.ToValidUTF8(r.Text, "\uFFFD")).str("stop", string(r.Stop)).set("token_ids", intList(r.Tokens)).set("logprobs", logprobs)
}

func resultFrom(v object.Value) *mind.Result {
	f := fieldsOf(v)
	r := answerFrom(v)
	r.PromptTokens, r.Model, r.AdapterHash = int(f.int("prompt_tokens")), f.str("model_hash"), f.str("adapter")
	for _, other := range f.list("again") {
		r.Again = append(r.Again, *answerFrom(other))
	}
	return r
}

func answerFrom(v object.Value) *mind.Result {
	f := fieldsOf(v)
	r := &mind.Result{Text: f.str("text"), Stop: mind.Stop(f.str("stop")), Tokens: int32sOf(f.get("token_ids"))}
	for _, p := range f.list("logprobs") {
		r.Logprobs = append(r.Logprobs, float(p))
	}
	return r
}

func intList(ns []int32) *object.List {
	l := &object.List{}
	for _, n := range ns {
		l.Items = append(l.Items, object.NewInt(int64(n)))
	}
	return l
}

func int32sOf(v object.Value) []int32 {
	var out []int32
	for _, n := range itemsOf(v) {
		out = append(out, int32(intOf(n)))
	}
	return out
}
