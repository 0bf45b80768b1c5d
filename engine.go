package batos

import _ "embed"

// The npm packages that carry the engine's libraries, pinned with integrity:
// what `npm ci` in the source tree and `batos engine install` both install.
var (
	//go:embed package.json
	EnginePackages string
	//go:embed package-lock.json
	EngineLock string
)
