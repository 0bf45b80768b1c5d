// Package exec carries out one message in one transaction: the semantics of
// objects. It knows no queue, no worker and no commit; the kernel gives it a
// transaction and a request, and gets an outcome.
//
// Read in this order:
//
//   - [Runner] runs messages; [Config] sets its limits; [Primitive] is a
//     function of the release that a slot can name, and [Call] is what such a
//     function sees.
//   - [Request] is a message with what earlier runs of it left behind: its
//     journal of [Effect] values and what its [Lineage] may still spend.
//   - [Outcome] says how the run ended: done, failed, suspended at a
//     [WantedEffect], or at a message that nobody understood.
//   - [Candidate] is a method that is tried as if it were installed.
//   - [Install] puts a method into a slot. Only the gate calls it.
//
// # Sends
//
// A send looks the selector up through the receiver, own slots first, then
// parents depth first. A method runs with self bound to the receiver, wherever
// it was found; a primitive is called; a data slot answers its value if there
// are no arguments. If nothing is found, doesNotUnderstand_ (then
// _doesNotUnderstand_) is looked up through the receiver in the same way. An
// object's own method of that name gets (selector, args, kwargs) and its answer
// is the answer of the send. The primitive [DoesNotUnderstand] ends the run.
//
// # Authority
//
// Every method runs in a frame. A frame's authority is the weakest author on
// the send stack, the message's own authority included. A primitive has no
// frame: it acts in the frame that sent to it. What a frame may write:
//
//   - sealed objects: never;
//   - protected objects: with the authority of genesis or of a person;
//   - open objects: any, with that authority; else only the frame's receiver,
//     objects made in this run, and objects passed to it as arguments by a
//     frame that could write them itself. Arguments of a message that generated
//     code sent for later grant nothing.
//
// A tree may be written by who may write the place it was read from, and cannot
// be stored elsewhere by generated code. A function of generated code is not
// handed to code of more authority. Behaviour (methods, primitives) is never
// assigned: [Install] puts it there.
//
// Every write is checked when it is made, nested changes of containers
// included, and everything the transaction would commit is checked once more
// when the run ends.
//
// # Effects
//
// An effect is something a run must not do twice, or could not do the same way
// twice. The run asks for effects in a fixed order; the journal holds their
// results. Inline effects (time, random numbers) are recorded at once. Other
// effects suspend the run: its writes are dropped, the kernel carries the
// effect out and runs the message again from the start. An ask that does not
// match the journal cuts the journal there; if that would forget an effect on
// the world outside, the message fails as diverged.
package exec
