// Package method is the dialect that methods are written in: Starlark with
// while, recursion and f-strings, in which every operation that could cost
// more than a constant is metered, every send is a message, and every change
// of a container that a slot owns is noticed.
//
// In reading order:
//
//   - [Compile] turns the source of one method into a [Program], which is
//     immutable and shared by any number of runs. [Parse] and [Signature]
//     stop earlier; [ParseFile] reads a whole object from a .star file.
//   - [Effects] is what the dialect asks of the world: slots, sends, clones,
//     root names, time. The package never touches an image itself.
//   - [Run] executes programs for one top-level message: it owns the meters
//     ([Limits], [Usage]), the values that stand for objects ([Object]), and
//     the record of which slot owns which container ([Owner]).
//   - [Run.Thaw] and [Run.Freeze] convert between slot values and the
//     dialect's values; [Run.Adopt] makes a container belong to a slot.
//
// How metering works. Between parsing and compiling the syntax tree is
// rewritten: operators, comparisons, slices, displays and method calls become
// calls of guards, whose names contain a character that no program can type.
// A guard charges the run before it does the work, so no single operation can
// outrun the limits; the interpreter's own step counter does the rest. What
// is left native (attribute reads of objects, loops, arithmetic with a small
// literal) is bounded by the size limits of parse.go. Nothing that decides a
// result depends on time, on memory pressure or on the order of a Go map; the
// wall-clock limit can only end a run.
package method
