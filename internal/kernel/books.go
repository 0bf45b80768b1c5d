package kernel

import (
	"sort"

	"batos/internal/exec"
	"batos/object"
)

// auditedMissions is how many missions, the newest, an audit looks at.
const auditedMissions = 500

// primBooks: books_() counts what the kernel itself has written down of
// missions: {missions, complete, failed, cancelled, open, attempts, inferences,
// tokens, prompt_tokens, trials, failures (selector → times), demoted (names),
// corrections}.
func (k *Kernel) primBooks(c *exec.Call) (object.Value, error) {
	if err := ofWorkflow(c, 0); err != nil {
		return nil, err
	}
	tx := c.Tx()
	count := map[string]int64{}
	failures := map[string]int64{}
	demoted := &object.List{}
	corrections := int64(0)
	var inferences, tokens, prompted, trials int64
	for e, err := range tx.Tree(k.roots.missions).Backward(nil, nil) {
		if err != nil {
			return nil, err
		}
		if count["missions"] == auditedMissions {
			break
		}
		d, err := loadDocket(tx, refOf(e.Value))
		if err != nil {
			return nil, err
		}
		count["missions"]++
		count[d.State]++
		inferences, tokens, prompted, trials = inferences+int64(len(d.Inferences)), tokens+d.Tokens, prompted+d.Prompted, trials+d.Trials
		for _, i := range d.Inferences {
			if i.Kind == "method" || i.Kind == "" {
				count["attempts"]++
			}
		}
		if d.State == "failed" {
			failures[string(d.Selector)]++
		}
	}
	names := make([]string, 0, len(failures))
	for s := range failures {
		names = append(names, s)
	}
	sort.Strings(names)
	failed := new(dict)
	for _, s := range names {
		failed.int(s, failures[s])
	}
	for e, err := range tx.Tree(k.roots.corrections).Backward(nil, nil) {
		if err != nil {
			return nil, err
		}
		if corrections+int64(len(demoted.Items)) == auditedMissions {
			break
		}
		c, err := tx.Load(refOf(e.Value))
		if err != nil {
			return nil, err
		}
		how, _ := c.Slot("how")
		if strOf(how) != "demote" {
			corrections++
			continue
		}
		of, _ := c.Slot("object")
		slot, _ := c.Slot("slot")
		name, err := nameOf(tx, refOf(of))
		if err != nil {
			return nil, err
		}
		demoted.Items = append(demoted.Items, object.Str(name+"."+strOf(slot)))
	}
	return new(dict).int("missions", count["missions"]).int("complete", count["complete"]).int("failed", count["failed"]).int("cancelled", count["cancelled"]).
		int("open", count["open"]+count["pending"]).int("attempts", count["attempts"]).int("inferences", inferences).int("tokens", tokens).int("prompt_tokens", prompted).
		int("trials", trials).set("failures", failed.value()).set("demoted", demoted).int("corrections", corrections).value(), nil
}
