// Package forge trains language models and adapters on the engine library, and
// writes them as GGUF files.
//
// In reading order:
//
//   - [Arch] is the shape of a Llama-like model, [Weights] its numbers
//     ([NewWeights] makes them at random).
//   - [Source] gives the examples; [Train] fits all weights to them by a
//     [Config], reports [Progress], and keeps checkpoints from which an
//     interrupted run continues exactly as if it had not stopped.
//   - [TrainAdapter] fits only LoRA tensors over the frozen model of a file.
//   - [WriteGGUF] and [WriteAdapter] make files that the engine loads.
//
// # How a step is computed
//
// The library's own training entry points do not fit: they never train the
// attention's keys and values, and its automatic gradient turns every matrix
// product into a slow kernel. So the package keeps a tape of its own (type
// tape): each operation of the forward pass notes how to build its gradient
// from the library's operations. Forward pass, gradients and the AdamW update
// become one static graph, built once and run once for each step.
//
// Short examples are packed into rows of [Config.RowTokens] positions. A mask
// lets each position see only its own example up to itself, so packing changes
// nothing in the result. Only supervised positions go through the output
// matrix. Their number differs from step to step while the graph does not, so
// the unused places are filled with zero vectors, whose gradient is exactly
// zero, and the loss is divided by the true count.
//
// With one seed, thread count and kind of processor a run is reproducible bit
// for bit.
package forge
