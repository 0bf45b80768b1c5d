package wire

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"batos"
)

// TokenFile is the token's name in the image folder.
const TokenFile = "token"

// EnsureToken gives the image's token, made at the first call: 256 random
// bits in a file only its owner can read.
func EnsureToken(dir string) (string, error) {
	t, err := ReadToken(dir)
	if err == nil || batos.CodeOf(err) != batos.NotFound {
		return t, err
	}
	var b [32]byte
	_, _ = rand.Read(b[:]) // crypto/rand.Read never fails (it aborts the program)
	t = hex.EncodeToString(b[:])
	if err := WriteSecret(filepath.Join(dir, TokenFile), t); err != nil {
		return "", batos.Errorf(batos.Denied, "the token cannot be written: %w", err)
	}
	return t, nil
}

// WriteSecret writes a line of text to a file only its owner can read. It is
// written whole before it has its name: a process killed here leaves the old
// file or the new one. The image's lock keeps other writers away.
func WriteSecret(name, text string) error {
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text + "\n")
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// ReadToken reads the token of the image in dir; not_found if there is none.
func ReadToken(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, TokenFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", batos.Errorf(batos.NotFound, "no token in %s", dir)
	}
	if err != nil {
		return "", batos.Errorf(batos.Denied, "the token cannot be read: %w", err)
	}
	t := strings.TrimSpace(string(b))
	if len(t) < 32 || strings.ContainsFunc(t, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", batos.Errorf(batos.Invalid, "%s is not a token; remove it and start batos up again", filepath.Join(dir, TokenFile))
	}
	return t, nil
}

// SameToken compares in constant time.
func SameToken(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
