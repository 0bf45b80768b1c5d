package logstore

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"batos"
	"batos/internal/vfs"
)

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func isReadOnly(err error) bool {
	return errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission)
}

// fileError gives a failed call on a file its code and one clear line. doing
// says what was attempted: "open the image".
func fileError(doing string, err error) error {
	var held *vfs.HeldError
	switch {
	case err == nil:
		return nil
	case batos.CodeOf(err) != "", errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.As(err, &held):
		return batos.Errorf(batos.Locked, "cannot %s: %w; stop that process first", doing, err)
	case isFull(err):
		return batos.Errorf(batos.Limit, "cannot %s: the disk is full (%w); free some space and try again", doing, err)
	case errors.Is(err, syscall.EROFS):
		return batos.Errorf(batos.Denied, "cannot %s: the disk is read-only here (%w)", doing, err)
	case isReadOnly(err):
		return batos.Errorf(batos.Denied, "cannot %s: it is read-only here, or belongs to somebody else (%w)", doing, err)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EISDIR):
		return batos.Errorf(batos.Invalid, "cannot %s: %w", doing, err)
	case errors.Is(err, fs.ErrNotExist):
		return batos.Errorf(batos.NotFound, "cannot %s: %w", doing, err)
	default:
		return batos.Errorf(batos.Corrupt, "cannot %s: %w; check the disk", doing, err)
	}
}

// noRoomError says that the disk was full before anything was written.
type noRoomError struct{ err error }

func (e *noRoomError) Error() string { return e.err.Error() }
func (e *noRoomError) Unwrap() error { return e.err }

// poisonError is what every commit answers once err ended a write.
func poisonError(err error) error {
	if isFull(err) {
		return batos.Errorf(batos.StorePoisoned, "the disk is full (%w): nothing more is committed; free some space and start again", err)
	}
	return batos.Errorf(batos.StorePoisoned, "writing the log failed (%w): nothing more is committed; check the disk and start again", err)
}

// readError is the answer to a read of the log that failed or found damage.
func readError(s *Store, pos uint64, err error) error {
	seg := s.segs.find(pos)
	if s.closing.Load() && errors.Is(err, fs.ErrClosed) || seg == nil {
		return errClosed
	}
	if batos.CodeOf(err) != "" {
		return err
	}
	if errors.Is(err, errBad) || errors.Is(err, errGone) {
		return batos.Errorf(batos.Corrupt, "%s is damaged at byte %d: the checksum is wrong; restore the image from a backup", seg.name, seg.offset(pos))
	}
	return batos.Errorf(batos.Corrupt, "%s cannot be read at byte %d: %w; check the disk", seg.name, seg.offset(pos), err)
}

func errNoObject(oid batos.OID) error {
	return batos.Errorf(batos.NotFound, "there is no object %v", oid)
}

// errPacked is the answer where the past that was asked for may be gone.
func (s *Store) errPacked(oid batos.OID, tid batos.TID) error {
	return batos.Errorf(batos.Packed, "object %v at %v: that past was packed away; what is left begins at %v", oid, tid, batos.TID(s.snaps.horizon.Load()))
}

var (
	errClosed   = batos.Errorf(batos.Cancelled, "the store is closed")
	errReadOnly = batos.Errorf(batos.Denied, "the image is open for reading only")
)
