package wire

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"batos"
)

func TestATokenIsMadeOnceAndOnlyItsOwnerReadsIt(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadToken(dir); batos.CodeOf(err) != batos.NotFound {
		t.Fatalf("a folder without a token: %v", err)
	}
	// What a process that was killed while it wrote one left behind.
	if err := os.WriteFile(filepath.Join(dir, TokenFile+".new"), []byte("0123"), 0o600); err != nil {
		t.Fatal(err)
	}
	first, err := EnsureToken(dir)
	if err != nil || len(first) != 64 {
		t.Fatalf("%q, %v", first, err)
	}
	again, err := EnsureToken(dir)
	if err != nil || again != first {
		t.Errorf("a second call made another token (%v)", err)
	}
	info, err := os.Stat(filepath.Join(dir, TokenFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestWhatIsNoTokenIsRefused(t *testing.T) {
	for _, text := range []string{"", "short", strings.Repeat("two words ", 8), strings.Repeat("é", 40), strings.Repeat("a", 40) + "\n" + strings.Repeat("b", 40)} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, TokenFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := EnsureToken(dir); batos.CodeOf(err) != batos.Invalid {
			t.Errorf("%q: %v", text, err)
		}
	}
}
