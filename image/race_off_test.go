//go:build !race

package image

const underRace = false
