package kernel

import (
	"slices"
	"strings"
	"unicode/utf8"

	"batos"
	"batos/object"
)

// understander is the message by which the kernel tells an object that nobody
// understood another; the one beginning with an underscore is for doors of
// wider scope anyway.
const understander = "doesNotUnderstand_"

// admit accepts what a door hands in, or says what is wrong with it. Whatever
// passes can be written into the image and read back.
func admit(r *Request) (batos.Selector, error) {
	sel, err := batos.ParseSelector(r.Selector)
	if err != nil {
		return "", err
	}
	if !r.Underscore && sel[0] == '_' {
		return "", batos.Errorf(batos.Denied, "selector %q begins with an underscore: that needs a token with admin scope", sel)
	}
	if !r.Underscore && sel == understander {
		return "", batos.Errorf(batos.Denied, "%s is sent by the kernel: send the message itself", sel)
	}
	if r.ID != "" {
		if err := checkID(r.ID); err != nil {
			return "", err
		}
	}
	if !utf8.ValidString(r.Sender) {
		return "", batos.Errorf(batos.Invalid, "the sender's name is not UTF-8")
	}
	for _, v := range r.Args {
		if err := checkGiven(v); err != nil {
			return "", err
		}
	}
	for i, kw := range r.Kwargs {
		if name, err := batos.ParseSelector(kw.Name); err != nil || string(name) != kw.Name {
			return "", batos.Errorf(batos.Invalid, "%s cannot be the name of an argument: use letters, digits and _, no digit first", quote(kw.Name))
		}
		if slices.ContainsFunc(r.Kwargs[:i], func(o object.Slot) bool { return o.Name == kw.Name }) {
			return "", batos.Errorf(batos.Invalid, "the argument %s comes twice", kw.Name)
		}
		if err := checkGiven(kw.Value); err != nil {
			return "", err
		}
	}
	return sel, nil
}

// kernelID marks the ids that the kernel derives from others; clients cannot
// choose one.
const kernelID = "/"

// checkID accepts the ids that a client may choose.
func checkID(id batos.MessageID) error {
	if len(id) > batos.MaxSelector {
		return batos.Errorf(batos.Invalid, "a message id has at most %d characters", batos.MaxSelector)
	}
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' {
			return batos.Errorf(batos.Invalid, "message id %s: use letters, digits and signs of ASCII, no blanks", quote(string(id)))
		}
	}
	if strings.Contains(string(id), kernelID) {
		return batos.Errorf(batos.Invalid, "message id %s: ids with %s are the kernel's", quote(string(id)), kernelID)
	}
	return nil
}

// checkGiven accepts the values that come in from outside. Behaviour is put
// into slots by the gate and by a person's def alone; and who holds a tree in
// a slot may write it, so trees are not handed about by their number.
func checkGiven(v object.Value) error {
	if err := object.Check(v); err != nil {
		return err
	}
	_, err := object.Map(v, func(part object.Value) (object.Value, error) {
		switch k := part.Kind(); k {
		case object.KindMethod, object.KindPrimitive, object.KindTree:
			return nil, batos.Errorf(batos.Invalid, "a %s cannot be given from outside", k)
		}
		return part, nil
	})
	return err
}
