package main

import (
	"regexp"

	"github.com/rogpeppe/go-internal/testscript"

	"batos"
)

func scriptTID(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tid NAME")
	}
	tid, err := batos.ParseTID(regexp.MustCompile(`t[0-9a-f]{16}`).FindString(ts.ReadFile("stdout")))
	ts.Check(err)
	ts.Setenv(args[0], tid.String())
	ts.Setenv("before", (tid - 1).String())
}
