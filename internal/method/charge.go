package method

// Charge takes n bytes from the run's budget, and work in proportion, for what
// an [Effects] does on behalf of code: pages of a tree, entries of a list it
// answers. It is called before the work. The error ends the run.
func (r *Run) Charge(n int) error { return r.charge(n) }
