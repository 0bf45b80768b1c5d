package mind

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	"batos"
)

// A seed model carries a table of the methods that it was taught: for each,
// by its code and the types of what it works on, the words that people use for
// it. The model may put words to a method that nobody calls so; the table
// tells. It holds no code and no phrase, so nothing can be answered with it.

// SeedMethod is an entry of that table.
type SeedMethod struct {
	Key   uint32   // see SeedMethodKey
	Words []string // of its phrases
}

// SeedMethodKey identifies a method of a prompt by its code, whatever the
// numbers of its slots and fields, and by the types of these and of the
// arguments. All layouts have one key, and so have all methods that put every
// slot into one text.
func SeedMethodKey(p SeedPrompt, body string) uint32 {
	h := fnv.New32a()
	if strings.HasPrefix(body, `return {"view"`) {
		h.Write([]byte("view"))
		return h.Sum32()
	}
	fields := p.fields()
	letters := map[string]byte{}
	count := map[byte]byte{}
	var types []string
	for i := 0; i < len(body); {
		c := body[i]
		if c != '$' && c != '%' && c != '#' || i+1 == len(body) || !isDigit(body[i+1]) {
			h.Write([]byte{c})
			i++
			continue
		}
		k, size := number(body[i+1:])
		kind := byte('$')
		if c == '#' {
			kind = '#'
		}
		key := string(kind) + strconv.Itoa(k)
		letter, ok := letters[key]
		if !ok {
			letter = 'A' + count[kind]
			count[kind]++
			letters[key] = letter
			switch {
			case kind == '$' && k < len(p.Slots):
				types = append(types, string(p.Slots[k].Type))
			case kind == '#' && k < len(fields):
				types = append(types, string(fields[k].Type))
			}
		}
		h.Write([]byte{c, letter})
		i += 1 + size
	}
	for _, t := range types {
		h.Write([]byte("|" + t))
	}
	for _, a := range p.Args {
		h.Write([]byte("(" + string(a)))
	}
	return h.Sum32()
}

// textOfAll is the key of methods that put every slot into one text.
func textOfAll() uint32 {
	h := fnv.New32a()
	h.Write([]byte("text"))
	return h.Sum32()
}

// SeedTextOfAll is the key of a method that puts every slot of p into one
// text, if body is that of one.
func SeedTextOfAll(p SeedPrompt, body string) (uint32, bool) {
	if !strings.HasPrefix(body, `return "%0: " + `) || strings.Contains(body, "\n") {
		return 0, false
	}
	for i := range p.Slots {
		if !hasAlias(body, '$', i) {
			return 0, false
		}
	}
	return textOfAll(), true
}

// fields lists the fields of all slots, as their aliases count them.
func (p SeedPrompt) fields() []SeedField {
	var out []SeedField
	for _, s := range p.Slots {
		out = append(out, s.Fields...)
	}
	return out
}

// PackSeedMethods writes a table for [SeedTables].Methods; words are the
// model's, sorted. Entries with one key are joined.
func PackSeedMethods(methods []SeedMethod, words []string) (string, error) {
	sets := map[uint32][]int{}
	for _, m := range methods {
		for _, w := range m.Words {
			i, ok := slices.BinarySearch(words, w)
			if !ok {
				return "", batos.Errorf(batos.Invalid, "the table of methods has the word %q, the model's list has not", w)
			}
			sets[m.Key] = append(sets[m.Key], i)
		}
	}
	keys := make([]uint32, 0, len(sets))
	for k := range sets {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	numbers := map[string]int{} // of the sets, many methods have the same
	var order []string
	var entries []byte
	for _, k := range keys {
		set := sets[k]
		slices.Sort(set)
		set = slices.Compact(set)
		packed := binary.AppendUvarint(nil, uint64(len(set)))
		last := 0
		for _, i := range set {
			packed = binary.AppendUvarint(packed, uint64(i-last))
			last = i
		}
		n, ok := numbers[string(packed)]
		if !ok {
			n = len(order)
			numbers[string(packed)] = n
			order = append(order, string(packed))
		}
		entries = binary.LittleEndian.AppendUint32(entries, k)
		entries = binary.AppendUvarint(entries, uint64(n))
	}
	out := binary.AppendUvarint(nil, uint64(len(order)))
	for _, set := range order {
		out = append(out, set...)
	}
	out = binary.AppendUvarint(out, uint64(len(keys)))
	return base64.StdEncoding.EncodeToString(append(out, entries...)), nil
}

// seedMethods is the table as it is used.
type seedMethods map[uint32]map[string]bool

func unpackSeedMethods(text string, words []string) (seedMethods, error) {
	if text == "" {
		return nil, nil
	}
	b, err := base64.StdEncoding.DecodeString(text)
	bad := batos.Errorf(batos.Invalid, "the seed model's table of methods is damaged")
	if err != nil {
		return nil, bad
	}
	next := func() int {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > 1<<24 {
			err = bad
			return 0
		}
		b = b[n:]
		return int(v)
	}
	var sets []map[string]bool
	for range next() {
		set := map[string]bool{}
		at := 0
		for range next() {
			if at += next(); at >= len(words) || err != nil {
				return nil, bad
			}
			set[words[at]] = true
		}
		sets = append(sets, set)
	}
	m := seedMethods{}
	for range next() {
		if len(b) < 4 {
			return nil, bad
		}
		key := binary.LittleEndian.Uint32(b)
		b = b[4:]
		n := next()
		if err != nil || n >= len(sets) {
			return nil, bad
		}
		m[key] = sets[n]
	}
	if err != nil || len(b) != 0 {
		return nil, bad
	}
	return m, nil
}

// codecWords are words that the codec itself writes, and small ones; the rest
// of what a prompt says must be said by people of the method.
var codecWords = wordSet("make un not the of to by a in from with and please now it on at for as have we you they there do does that")

// strange lists the words of a prompt that nobody uses for the method that the
// model wrote; novel is true if the model was taught no such method.
func (m seedMethods) strange(p SeedPrompt, body string) (words []string, novel bool) {
	if m == nil {
		return nil, false
	}
	said, ok := m[SeedMethodKey(p, body)]
	if key, all := SeedTextOfAll(p, body); all && !ok {
		said, ok = m[key]
	}
	if !ok {
		return nil, true
	}
	for _, w := range p.Words {
		if isLetter(w[0]) && !said[w] && !codecWords[w] {
			words = append(words, w)
		}
	}
	return words, false
}
