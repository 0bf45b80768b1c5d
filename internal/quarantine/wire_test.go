package quarantine

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"batos"
	"batos/image"
	"batos/internal/codec"
	"batos/internal/exec"
	"batos/object"
)

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	in := revision{Found: true, TID: 7, Data: []byte("abc"), Err: failure{Code: "not_found", Text: "gone"}}
	if err := writeFrame(&b, maxSaid, frameRevision, in); err != nil {
		t.Fatal(err)
	}
	whole := bytes.Clone(b.Bytes())
	kind, body, err := readFrame(&b, maxSaid)
	if err != nil || kind != frameRevision {
		t.Fatalf("%q, %v", byte(kind), err)
	}
	var out revision
	if err := decode(body, &out); err != nil || !bytes.Equal(out.Data, in.Data) || out.TID != in.TID || out.Err != in.Err || !out.Found {
		t.Errorf("%+v, %v", out, err)
	}
	for n := range whole {
		if _, _, err := readFrame(bytes.NewReader(whole[:n]), maxSaid); err == nil {
			t.Errorf("the first %d bytes of %d passed for a frame", n, len(whole))
		}
	}
	if err := decode(append(body, 0), &out); err == nil {
		t.Error("a byte too many was not noticed")
	}
	if err := writeFrame(&b, 8, frameRevision, in); !errors.Is(err, errTooLong) {
		t.Errorf("%v", err)
	}
	if _, _, err := readFrame(bytes.NewReader(whole), 8); !errors.Is(err, errTooLong) {
		t.Errorf("%v", err)
	}
}

// FuzzReport feeds the parent what a child that was taken over could say.
func FuzzReport(f *testing.F) {
	seed := func(r report) {
		var b bytes.Buffer
		if err := writeFrame(&b, maxAsked, frameReport, r); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes()[5:])
	}
	seed(report{
		Status: uint8(exec.Done), Value: codec.EncodeValue(object.NewInt(1)), Diff: image.EncodeChanges(nil),
		Journal: effectsOut([]exec.Effect{{Kind: "time", Result: object.Time(1)}, {Kind: "infer", Err: batos.Errorf(batos.Offline, "off")}}),
	})
	seed(report{Status: uint8(exec.Failed), Err: failure{Code: "raised", Text: "no"}})
	seed(report{Status: uint8(exec.NotUnderstood), Missing: &missing{Receiver: 3, Selector: "f", Args: codec.EncodeArgs(nil, nil)}})
	f.Fuzz(func(t *testing.T, data []byte) {
		var rep report
		if decode(data, &rep) != nil {
			return
		}
		var v Verdict
		failed := v.fill(&rep)
		switch {
		case failed != nil:
			if e := failed.explain(Config{CPU: time.Second}); e.Code != batos.Limit {
				t.Errorf("%v", e)
			}
		case v.OK != (v.Err == nil), v.OK && v.Value == nil:
			t.Errorf("neither good nor bad: %+v", v)
		}
	})
}
