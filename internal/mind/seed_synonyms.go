package mind

import "strings"

// synonyms are words that no phrase of the corpus has, by a word that means
// the same wherever it stands in a selector. They widen what people may say
// without a model that has read more.
var synonyms = func() map[string][]string {
	m := map[string][]string{}
	for line := range strings.Lines(`
append   paste tack affix
remove   demolish retract uninstall unlist
delete   nuke obliterate
find     detect discover seek
search   scan comb
show     expose exhibit
list     browse itemize
make     produce craft generate brew assemble
create   spawn construct establish
assign   allocate delegate
increase escalate elevate
reduce   downsize curtail
start    commence initiate
stop     cease
finish   finalize conclude
send     dispatch deliver transmit
collect  harvest compile amass
record   capture jot
choose   opt
combine  mix blend fuse
merge    amalgamate consolidate
replace  supersede
longest  lengthiest
best     finest
describe portray characterize detail
rename   rebrand
use      utilize employ
buy      procure
need     require
has      possess possesses had
ban      forbid prohibit
previous prior former
next     upcoming subsequent
without  sans
is       were am
can      could might
who      whom
many     numerous
check    examine probe
calculate derive evaluate determine
pick     opt
drop     jettison
give     supply provide
take     seize
different dissimilar
unique   nonrepeating
average  typical
message  msg memo
`) {
		f := strings.Fields(line)
		for _, w := range f[min(1, len(f)):] {
			m[w] = append(m[w], f[0])
		}
	}
	return m
}()

// spellings are British endings with their American ones, as the corpus has.
var spellings = [][2]string{{"ise", "ize"}, {"ised", "ized"}, {"ising", "izing"}, {"yse", "yze"}, {"our", "or"}, {"oured", "ored"}, {"ourite", "orite"}, {"ourites", "orites"}, {"tre", "ter"}, {"ogue", "og"}, {"lled", "led"}, {"lling", "ling"}}

// known gives the word of the corpus that w is, or that means the same; ok is
// false if there is none.
func (lex lexicon) known(w string) (word string, ok bool) {
	for _, form := range []string{w, singular(w)} {
		if lex.words[form] {
			return form, true
		}
		for _, s := range spellings {
			if head, ok := strings.CutSuffix(form, s[0]); ok && lex.words[head+s[1]] {
				return head + s[1], true
			}
		}
		for _, s := range synonyms[form] {
			if lex.words[s] {
				return s, true
			}
		}
	}
	return "", false
}
