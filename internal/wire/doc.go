// Package wire is what clients and doors say to each other: the JSON form of
// slot values, the requests and answers of /api/v1, the token, and a client.
// It knows nothing of the kernel.
//
// Read value.go first: plain JSON wherever JSON can say it, and one-key
// objects with a $ where it cannot:
//
//	{"$ref": "0x12a"}                    an object
//	{"$bytes": "base64"}                 bytes
//	{"$int": "123456789012345678901"}    an integer beyond 2^53
//	{"$float": "NaN" | "+Inf" | "-Inf"}  what JSON has no number for
//	{"$tuple": […]}  {"$set": […]}       a tuple, a set
//	{"$dict": [[key, value], …]}         a dict whose keys are not all strings, or begin with $
//	{"$time": "2026-11-23T01:02:03Z"}    a moment
//	{"$blob": "sha256", "size": n}       a blob
//	{"$tree": "0x…"} {"$counter": n}     a tree, a counter
//	{"$method": {…}} {"$primitive": "…"} behaviour; only in answers
//
// A float that is a whole number is written with a decimal point, so that
// ints and floats survive the round trip.
package wire
