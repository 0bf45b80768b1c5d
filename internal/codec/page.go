package codec

import "batos"

// Root is the fixed point of a persistent ordered map: its OID names the map
// while pages come and go.
type Root struct {
	Top   batos.OID // the page to begin at; 0: no keys
	Count int64     // keys in the map
}

// Leaf is a page with keys and values. Keys are encoded by [EncodeKey] and
// strictly ascending; values by [EncodeValue].
type Leaf struct {
	Tree   batos.OID // the map's root record
	Keys   []string
	Values []string
}

// Inner is a page of pages. Kids[i] has the keys from Keys[i] on that are
// below Keys[i+1]; the first one also has all that are smaller.
type Inner struct {
	Tree batos.OID
	Keys []string
	Kids []batos.OID
}

// EncodeRoot gives the record of r.
func EncodeRoot(r Root) []byte { return AppendRoot(room(20), r) }

// AppendRoot appends to b what EncodeRoot gives.
func AppendRoot(b []byte, r Root) []byte {
	b = appendArray(appendHeader(b, KindTree), 2)
	return appendInt(appendUint(b, uint64(r.Top)), r.Count)
}

// DecodeRoot is the inverse of [EncodeRoot].
func DecodeRoot(data []byte) (Root, error) {
	d, err := body(data, KindTree)
	if err != nil {
		return Root{}, err
	}
	d.tuple(2)
	r := Root{Top: batos.OID(d.uint()), Count: d.int()}
	if (r.Top == 0) != (r.Count == 0) || r.Count < 0 {
		d.fail("a tree's count does not go with its pages")
	}
	return r, d.end()
}

// EncodeLeaf gives the record of l.
func EncodeLeaf(l *Leaf) []byte { return AppendLeaf(room(LeafSize(l.Keys, l.Values)), l) }

// AppendLeaf appends to b what EncodeLeaf gives.
func AppendLeaf(b []byte, l *Leaf) []byte {
	b = appendArray(appendHeader(b, KindLeaf), 2)
	b = appendUint(b, uint64(l.Tree))
	b = appendArray(b, 2*len(l.Keys))
	for i := range l.Keys {
		b = appendBin(b, l.Keys[i])
		b = appendBin(b, l.Values[i])
	}
	return b
}

// LeafSize bounds the size in bytes of a leaf with these entries.
func LeafSize(keys, values []string) int {
	n := pageOverhead
	for i := range keys {
		n += EntrySize(keys[i], values[i])
	}
	return n
}

// EntrySize bounds what one entry takes in a leaf.
func EntrySize(key, value string) int { return len(key) + len(value) + 8 }

const pageOverhead = 20

// DecodeLeaf is the inverse of [EncodeLeaf]. Values are not looked at. What it
// gives shares one copy of data, and nothing with data.
func DecodeLeaf(data []byte) (*Leaf, error) {
	d, err := body(data, KindLeaf)
	if err != nil {
		return nil, err
	}
	d.tuple(2)
	text := string(data)
	l := &Leaf{Tree: batos.OID(d.uint())}
	n := d.arrayLen()
	if n%2 != 0 || n == 0 {
		d.fail("a page has keys without values, or none")
	}
	if d.err != nil {
		return nil, d.err
	}
	parts := make([]string, n) // keys, then values
	l.Keys, l.Values = parts[:n/2:n/2], parts[n/2:]
	for i := range l.Keys {
		l.Keys[i] = d.shared(text)
		l.Values[i] = d.shared(text)
		d.ascending(l.Keys, i)
		if d.err != nil {
			return nil, d.err
		}
	}
	return l, d.end()
}

// shared reads bytes as a part of text, which is all the decoder's input.
func (d *decoder) shared(text string) string {
	p := d.bin()
	return text[d.i-len(p) : d.i]
}

func (d *decoder) ascending(keys []string, i int) {
	if i > 0 && keys[i-1] >= keys[i] || len(keys[i]) > MaxKey {
		d.fail("a page's keys are not in order")
	}
}

// Own makes l, which nobody else may be using, hold on to nothing but one copy
// of data, its record.
func (l *Leaf) Own(data []byte) {
	text := string(data)
	own := func(s *string, end int) (start int) {
		start = end - len(*s)
		*s = text[start:end]
		return start - binHeader(len(*s))
	}
	at := len(text)
	for i := len(l.Keys) - 1; i >= 0; i-- {
		at = own(&l.Keys[i], own(&l.Values[i], at))
	}
}

// EncodeInner gives the record of p.
func EncodeInner(p *Inner) []byte { return AppendInner(room(InnerSize(p.Keys)), p) }

// AppendInner appends to b what EncodeInner gives.
func AppendInner(b []byte, p *Inner) []byte {
	b = appendArray(appendHeader(b, KindInner), 2)
	b = appendUint(b, uint64(p.Tree))
	b = appendArray(b, 2*len(p.Keys))
	for i := range p.Keys {
		b = appendBin(b, p.Keys[i])
		b = appendUint(b, uint64(p.Kids[i]))
	}
	return b
}

// InnerSize bounds the size in bytes of an inner page with these keys.
func InnerSize(keys []string) int {
	n := pageOverhead
	for _, k := range keys {
		n += KidSize(k)
	}
	return n
}

// KidSize bounds what one page takes in the page above it.
func KidSize(key string) int { return len(key) + 3 + 9 }

// DecodeInner is the inverse of [EncodeInner].
func DecodeInner(data []byte) (*Inner, error) {
	d, err := body(data, KindInner)
	if err != nil {
		return nil, err
	}
	d.tuple(2)
	text := string(data)
	p := &Inner{Tree: batos.OID(d.uint())}
	n := d.arrayLen()
	if n%2 != 0 || n == 0 {
		d.fail("a page has keys without pages, or none")
	}
	if d.err != nil {
		return nil, d.err
	}
	p.Keys, p.Kids = make([]string, n/2), make([]batos.OID, n/2)
	for i := range p.Keys {
		p.Keys[i] = d.shared(text)
		p.Kids[i] = batos.OID(d.uint())
		d.ascending(p.Keys, i)
		if p.Kids[i] == 0 {
			d.fail("a page points nowhere")
		}
		if d.err != nil {
			return nil, d.err
		}
	}
	return p, d.end()
}
