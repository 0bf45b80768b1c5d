// Package seedmind makes the model that ships with the project: a tiny one
// that writes the missing methods of ordinary objects, on any machine and
// offline, and says so when it does not know how.
//
// In reading order:
//
//   - families/*.txt is what the model is taught: families of methods, each
//     with the phrases people use for it, its code, and examples that prove
//     the code. [Load] reads them into a [Corpus]. README.md says how
//     to add one.
//   - A [Meaning] is one way to name one family for given types of slots and
//     arguments. [Corpus.Read] finds the meaning of a prompt, if it has one;
//     that decides what a generated example is taught, so that no prompt ever
//     has two answers.
//   - [Generator] makes training examples by number from a seed, and held-out
//     ones for evaluation: names, phrases and combinations never trained on.
//   - [Case] is one message to one object with what must come of it;
//     [World] runs methods against objects in memory to check that.
//   - [Recipe] is how the model is trained, [Evaluate] how good it is, and
//     [Nearest] the baseline it is measured against: the phrase of the corpus
//     with the most words in common.
//   - [Phrases] tells the profile what the phrases near to a message ask for;
//     [Weigh], [FitWeights] and [CrossFitted] find how the model's ideas are
//     weighed by that and more.
//   - [Open] gives the shipped weights.
//
// The model never sees a name: see the profile "seed" in internal/mind.
package seedmind
