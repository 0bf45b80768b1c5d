package batos

// Ref points at an object: by OID, or at a door by a root name or path that
// the kernel resolves.
type Ref struct {
	OID  OID
	Name string // "genesis_obj", "genesis", "genesis.shelf"; used when OID is zero
}

// Authority says on whose word code runs. A message's authority is the
// weakest on its send stack.
type Authority uint8

const (
	Imported Authority = iota // code from a foreign image or file, not yet accepted
	Persona                   // code a mission generated
	Genesis                   // code the release shipped
	Person                    // a person at a door
)

var authorityNames = [...]string{"imported", "persona", "genesis", "person"}

func (a Authority) String() string {
	if int(a) < len(authorityNames) {
		return authorityNames[a]
	}
	return "authority?"
}

// ParseAuthority is the inverse of String.
func ParseAuthority(s string) (Authority, error) {
	for i, n := range authorityNames {
		if n == s {
			return Authority(i), nil
		}
	}
	return 0, Errorf(Invalid, "%q is not an authority", s)
}

// Weaker gives the lesser of two authorities.
func (a Authority) Weaker(b Authority) Authority { return min(a, b) }

// Message is one request to one object. It is immutable once accepted.
type Message struct {
	ID       MessageID
	Lineage  MessageID // the request at a door that this one descends from; its own ID there
	Sender   string    // who to keep in order with: a client, or the OID of the sending object
	Target   OID
	Selector Selector
	// Args is the canonical encoding of the arguments: codec.EncodeArgs of a
	// list of positional values and an ordered set of named ones.
	Args      []byte
	Authority Authority
	Hop       int // send_later distance from the door
}

// MessageState is where a message is in its life.
type MessageState string

const (
	Queued    MessageState = "queued"    // accepted, waits for its receiver
	Running   MessageState = "running"   // a worker has it
	Suspended MessageState = "suspended" // waits for an effect (an inference, a trial) without a worker
	Parked    MessageState = "parked"    // waits for a mission to write a method
	Done      MessageState = "done"
	Failed    MessageState = "failed"
	Ended     MessageState = "cancelled"
)

// Final reports whether the state is an outcome.
func (s MessageState) Final() bool { return s == Done || s == Failed || s == Ended }
