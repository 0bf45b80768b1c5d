package seedmind

import (
	"embed"
	"io"

	"batos"
)

// ID names the shipped model in images and provenance.
const ID = "batos-seed-1"

// ModelFile is the shipped model inside the package's folder.
const ModelFile = "weights/seed.gguf"

//go:embed weights
var weights embed.FS

// Open gives the shipped model's GGUF file. A build without one answers with
// an error of code not_found.
func Open() (io.ReadCloser, error) {
	f, err := weights.Open(ModelFile)
	if err != nil {
		return nil, batos.Errorf(batos.NotFound, "this build carries no seed model: run make seedmind, or start batos with --model FILE.gguf: %w", err)
	}
	return f, nil
}
