//go:build race

package image

// raced: the race detector is on, under which some things take more room.
const raced = true
