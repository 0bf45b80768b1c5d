// Package object is the object model, without storage: what a slot may hold,
// what an object is made of, and how it delegates. Everything here is pure and
// immutable, so that any number of goroutines and transactions may share it.
//
// Read in this order: [Value] and its closed set of kinds, [Slot], [State],
// then the rules that turn a heap of states into a world:
//
//   - [Walk] is lookup order: an object's own slots first, then its parents
//     (slots whose names end in *), in slot order, depth first, each object
//     once. [Heap] looks slots up along it.
//   - [State.Clone] is what "copy the prototype" means.
//   - [Equal] and [Same] say when two values or states are the same stored
//     thing.
//   - [Check] and [CheckSlotName] are what an image demands before it stores.
//   - [Text] and [Describe] print for people.
package object
