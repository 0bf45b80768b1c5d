package kernel

import (
	"context"
	"encoding/hex"
	"strings"

	"golang.org/x/sys/unix"

	"batos"
	"batos/image"
	"batos/internal/adapter"
	"batos/internal/codec"
	"batos/internal/exec"
	"batos/internal/memory"
	"batos/internal/mind"
	"batos/object"
)

// effectTier is the effect of moving an adapter: repeatable, since all it
// changes is memory of this process and the engine's.
const effectTier = "tier"

// newTiers makes the adapters' tiers. What the image says of budgets and
// policy holds at once.
func (k *Kernel) newTiers() *memory.Tiers {
	return memory.New(memory.Config{Open: k.openAdapter, Host: k.host, Weigh: adapter.Weigh, Budgets: k.budgets, Policy: k.choose, Clock: k.clock})
}

// host is the engine in use if it holds adapters of the image's model, else
// nil.
func (k *Kernel) host() mind.AdapterHost {
	if k.config.Remote && !k.config.RemoteAdapters {
		return nil
	}
	engine, _, _, err := k.core.use()
	if err != nil {
		return nil
	}
	h, _ := engine.(mind.AdapterHost)
	return h
}

// openAdapter opens an adapter's blob by its content hash, which is the blob's.
func (k *Kernel) openAdapter(ctx context.Context, hash string) (memory.Source, error) {
	var b object.Blob
	h, err := hex.DecodeString(hash)
	if err != nil || len(h) != len(b.Hash) {
		return nil, batos.Errorf(batos.NotFound, "no adapter has the hash %s", quote(hash))
	}
	copy(b.Hash[:], h)
	return k.im.OpenBlob(ctx, b)
}

// The shares of memory that the tiers take if the image does not say, and the
// most that the blueprint gives the warm one.
const (
	warmShare = 4
	hotShare  = 8
	warmMost  = 20 << 30
)

// budgets reads how much the tiers may hold: the slot budget_mb of
// ram_cache_obj and of vram_manifest_obj in MiB, or a share of the machine's
// memory where that is 0.
func (k *Kernel) budgets() (warm, hot int64) {
	var info unix.Sysinfo_t
	total := int64(8 << 30)
	if unix.Sysinfo(&info) == nil {
		total = int64(info.Totalram) * int64(info.Unit)
	}
	warm, hot = min(total/warmShare, warmMost), total/hotShare
	_ = k.im.View(k.live(), func(tx *image.Tx) error { // an image that cannot be read has other troubles; the defaults hold then
		for name, to := range map[string]*int64{cacheObject: &warm, manifestObject: &hot} {
			oid, ok, err := tx.Name(name)
			if err != nil || !ok {
				return err
			}
			v, _, err := tx.Slot(oid, budgetSlot)
			if err != nil {
				return err
			}
			if mb := float(v); mb > 0 {
				*to = int64(float64(mb) * (1 << 20))
			}
		}
		return nil
	})
	return warm, hot
}

// choose asks the image's own policy, memory_manager_obj.chooseVictim_, which
// of the candidates goes. It runs on a snapshot and changes nothing. If it
// fails or answers nonsense, the shipped rule decides, and the log says so.
func (k *Kernel) choose(cs []memory.Candidate) int {
	if len(cs) < 2 {
		return 0
	}
	i, err := k.askPolicy(cs)
	if err != nil {
		k.log.Warn("memory_manager_obj.chooseVictim_ failed; the shipped rule decides", "reason", err)
		return memory.CostAware(cs)
	}
	return i
}

func (k *Kernel) askPolicy(cs []memory.Candidate) (int, error) {
	ctx := k.live()
	tx, err := k.im.Begin(ctx)
	if err != nil {
		return 0, err
	}
	defer tx.Abort()
	manager, ok, err := tx.Name(managerObject)
	if err != nil || !ok {
		return 0, cmpNotFound(err, managerObject)
	}
	list, err := k.candidateList(tx, cs)
	if err != nil {
		return 0, err
	}
	id := batos.NewMessageID()
	out := k.runner.Run(ctx, tx, exec.Request{
		Message: batos.Message{ID: id, Lineage: id, Sender: "kernel", Target: manager, Selector: "chooseVictim_", Authority: batos.Genesis,
			Args: codec.EncodeArgs([]object.Value{list}, nil)},
	})
	if out.Status != exec.Done {
		if out.Err != nil {
			return 0, out.Err
		}
		return 0, batos.Errorf(batos.Invalid, "it %s instead of answering", out.Status)
	}
	n, ok := out.Value.(object.Int)
	i, fits := int64(0), false
	if ok {
		i, fits = n.Int64()
	}
	if !fits || i < 0 || i >= int64(len(cs)) {
		return 0, batos.Errorf(batos.Invalid, "it answered %s, not a place from 0 to %d", object.Text(out.Value, 40), len(cs)-1)
	}
	return int(i), nil
}

// candidateList is what a policy is shown.
func (k *Kernel) candidateList(tx *image.Tx, cs []memory.Candidate) (*object.List, error) {
	hashes := make([]string, len(cs))
	for i, c := range cs {
		hashes[i] = c.Hash
	}
	names, err := k.adapterNames(tx, hashes)
	if err != nil {
		return nil, err
	}
	l := &object.List{}
	for _, c := range cs {
		l.Items = append(l.Items, new(dict).str("name", names[c.Hash]).str("tier", string(c.Tier)).int("bytes", c.Bytes).int("hits", c.Hits).
			set("weight", object.Float(c.Weight)).set("last_use", object.Float(float64(c.LastUse.UnixMicro())/1e6)).
			set("reload_seconds", object.Float(c.Reload.Seconds())).value())
	}
	return l, nil
}

// primTierState: state_(name) answers {tier, bytes, hits, hash} of an adapter or of
// a persona's, or None if there is none.
func (k *Kernel) primTierState(c *exec.Call) (object.Value, error) {
	if err := arity(c, 1, 1); err != nil {
		return nil, err
	}
	return c.Inline("tier_state", c.Args()[0], func() (object.Value, error) {
		a, found, err := k.findAdapter(c.Tx(), nameIn(c.Args()[0], c))
		if batos.CodeOf(err) == batos.NotFound || err == nil && !found {
			return object.None{}, nil
		}
		if err != nil {
			return nil, err
		}
		return new(dict).str("name", a.Name).str("tier", string(a.State.Tier)).int("bytes", a.Bytes).int("hits", a.State.Hits).str("hash", a.Hash).value(), nil
	})
}

// nameIn reads an adapter's name from an argument: a name, or a proxy.
func nameIn(v object.Value, c *exec.Call) string {
	if r, ok := v.(object.Ref); ok {
		if name, _, err := c.Tx().Slot(batos.OID(r), "adapter_name"); err == nil {
			return strOf(name)
		}
	}
	return strOf(v)
}

// primTierUsage: usage_() answers the tiers' bytes and budgets.
func (k *Kernel) primTierUsage(c *exec.Call) (object.Value, error) {
	if err := arity(c, 0, 0); err != nil {
		return nil, err
	}
	return c.Inline("tier_usage", object.None{}, func() (object.Value, error) {
		u := k.tiers.Usage()
		return new(dict).int("warm", u.Warm).int("warm_budget", u.WarmBudget).int("hot", u.Hot).int("hot_budget", u.HotBudget).bool("thrash", u.Thrash).value(), nil
	})
}

// primTierCandidates: candidates_() answers what could leave the engine.
func (k *Kernel) primTierCandidates(c *exec.Call) (object.Value, error) {
	if err := arity(c, 0, 0); err != nil {
		return nil, err
	}
	return c.Inline("tier_candidates", object.None{}, func() (object.Value, error) {
		return k.candidateList(c.Tx(), k.tiers.Candidates())
	})
}

// primTierMove: move_(name, tier) brings an adapter into the tier "hot", "warm" or
// "cold" and answers {ok, code, error, tier}.
func (k *Kernel) primTierMove(c *exec.Call) (object.Value, error) {
	if err := arity(c, 2, 2); err != nil {
		return nil, err
	}
	if a := c.Authority(); a < batos.Genesis {
		return nil, batos.Errorf(batos.Denied, "%s moves what others use; code of %s authority sends memory_manager_obj activateExpert_ instead", c.Selector(), a)
	}
	to := memory.Tier(strOf(c.Args()[1]))
	if to != memory.Hot && to != memory.Warm && to != memory.Cold {
		return nil, batos.Errorf(batos.Invalid, "%s is no tier; there are hot, warm and cold", quote(string(to)))
	}
	return c.Effect(effectTier, false, new(dict).str("name", nameIn(c.Args()[0], c)).str("to", string(to)).value())
}

// moveTier carries out primTierMove.
func (k *Kernel) moveTier(ctx context.Context, args fields) object.Value {
	ctx, cancel := context.WithTimeout(ctx, inferTimeout)
	defer cancel()
	a, err := k.MoveAdapter(ctx, args.str("name"), memory.Tier(args.str("to")))
	if err != nil {
		return failed(err)
	}
	return new(dict).bool("ok", true).str("code", "").str("error", "").str("tier", string(a.State.Tier)).value()
}

// primTierPrefetch: prefetch_(names) brings the adapters of personas that are asked
// next into memory, once this message is committed.
func primTierPrefetch(c *exec.Call) (object.Value, error) {
	if err := ofWorkflow(c, 1); err != nil {
		return nil, err
	}
	if t := turnOf(c); t != nil {
		t.ahead = append(t.ahead, stringsOf(c.Args()[0])...)
	}
	return object.None{}, nil
}

// prefetch brings the adapter of the persona that will be asked next into the
// warm tier, beside everything else. That it fails shows when it is needed.
func (k *Kernel) prefetch(name string) {
	if k.host() == nil || k.closed.Load() {
		return
	}
	k.mu.Lock()
	if k.closed.Load() {
		k.mu.Unlock()
		return
	}
	k.work.Add(1)
	k.mu.Unlock()
	go func() {
		defer k.work.Done()
		var a Adapter
		found := false
		err := k.im.View(k.ctx, func(tx *image.Tx) (err error) {
			a, found, err = k.findAdapter(tx, name)
			return err
		})
		if err == nil && found && a.State.Tier == memory.Cold {
			err = k.tiers.Stage(k.ctx, a.Hash)
		}
		if err != nil && k.ctx.Err() == nil {
			k.log.Debug("an adapter was not fetched ahead", "persona", strings.ToLower(name), "reason", err)
		}
	}()
}
