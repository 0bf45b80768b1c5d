//go:build !linux

package quarantine

import (
	"io"
	"os"
	"syscall"
	"time"

	"batos"
)

const ownBinary = ""

// supported refuses: a trial without walls would be none.
func supported() error {
	return batos.Errorf(batos.Refused, "trials of generated methods need Linux, for its limits on processes")
}

func childAttributes() *syscall.SysProcAttr { return nil }

func socketPair() (ours, theirs *os.File, err error) { return nil, nil, supported() }

func inherited() (io.ReadWriter, error) { return nil, supported() }

func confine(_, _ int64) error { return supported() }

func overCPU(*os.ProcessState, time.Duration) bool { return false }
