//go:build unix && !linux

package vfs

import "os"

// The full sync is right everywhere; os.File.Sync also knows F_FULLFSYNC.
func datasync(f *os.File) error { return f.Sync() }

// Reserving space is an optimisation that these systems go without.
func allocate(*os.File, int64, int64) error { return nil }

func adviseHuge([]byte) {}

func populate([]byte) {}
