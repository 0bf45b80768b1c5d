//go:build race

package image

// underRace: the race detector is on, under which some things take more room.
const underRace = true
