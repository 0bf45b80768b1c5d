package mind

import "context"

// Ask has the engine answer r and then, each for itself, the prompts of
// r.Again: greedily, and not when the answer to r itself was cut short.
func Ask(ctx context.Context, engine Engine, r Request) (*Result, error) {
	again, draws := r.Again, r.Draws
	r.Again, r.Draws = nil, 0
	res, err := engine.Generate(ctx, r)
	if err != nil || res.Stop != StopEnd {
		return res, err
	}
	own := r.Tokens
	for _, tokens := range again {
		r.Tokens, r.Gloss, r.Temperature = tokens, "", 0
		other, err := engine.Generate(ctx, r)
		if err != nil {
			return nil, err
		}
		res.Again = append(res.Again, *other)
	}
	if sureness(res.Logprobs) >= sureOfAll {
		return res, nil
	}
	r.Tokens, r.Temperature = own, 1
	for i := range draws {
		r.Seed = uint64(i + 1)
		other, err := engine.Generate(ctx, r)
		if err != nil {
			return nil, err
		}
		res.Again = append(res.Again, *other)
	}
	return res, nil
}

// sureOfAll is the probability of an answer from which on nothing is drawn:
// it would come again and again.
const sureOfAll = 0.9

// Written is how many tokens the model wrote in all.
func (r *Result) Written() int {
	n := len(r.Tokens)
	for _, o := range r.Again {
		n += len(o.Tokens)
	}
	return n
}
