//go:build race

package method

// underRace: the race detector keeps memory of its own for every byte.
const underRace = true
