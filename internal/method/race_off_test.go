//go:build !race

package method

const underRace = false
