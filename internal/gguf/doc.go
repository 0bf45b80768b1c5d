// Package gguf reads and writes GGUF, the file format of model weights and
// LoRA adapters that the engine library loads.
//
// Files of other people are hostile input, and the library parses them in C.
// So every file passes here first: [Read] accepts only what the format allows
// and the file really holds, [CheckModel] and [CheckAdapter] only what the
// library can be given without tripping one of its assertions, which would end
// the process. Reading never panics, never allocates more than a small
// multiple of the header's bytes, and takes time linear in them.
//
// Read in this order: [File] with [Entry] and [Tensor]; [Value] and
// [ValueType]; [TensorType]; [Read] and [Open]; [CheckModel]; [Write].
//
// Errors are [*batos.Error]s of code invalid whose text says what is wrong and
// at which byte; callers put the file's name before it.
package gguf
