package mind

import "strings"

// synonyms are words that no phrase of the corpus has, by a word that means
// the same wherever it stands in a selector. They widen what people may say
// without a model that has read more.
var synonyms = func() map[string][]string {
	m := map[string][]string{}
	for line := range strings.Lines(`
accelerate hurry hasten
after      succeeding
allow      permit
announce   advertise
answer     reply respond
append     paste tack affix
assign     allocate delegate
ban        forbid prohibit
best       finest
between    amid amidst
biggest    hugest
break      smash
buy        procure
calculate  derive evaluate determine
can        could might
charge     energize
cheapest   thriftiest
check      examine probe validate
choose     opt
clean      sweep
climb      ascend
collect    harvest compile amass
combine    mix blend fuse
convert    transform
copy       replicate
count      headcount
create     spawn construct establish
decrease   dwindle
delete     nuke obliterate destroy shred eradicate
describe   portray characterize detail
difference delta discrepancy
different  dissimilar
discard    scrap junk
do         perform
donate     contribute
done       accomplished
drain      exhaust
drop       jettison abandon forsake
each       individual
earn       pocket
empty      barren void
enough     ample
ensure     guarantee
expensive  pricey
fill       populate
find       detect discover unearth
finish     finalize conclude
give       supply provide
glue       fuse
goodbye    ciao
has        possess possesses had
heal       cure treat
hello      hey howdy
highest    utmost
increase   escalate elevate fatten bolster
insert     inject
is         were am
join       stitch weld
keep       maintain preserve
last       ultimate
letters    alphabet
limit      threshold
list       browse itemize catalogue
longest    lengthiest wordiest
lose       leak forfeit squander
lowest     bottommost
make       produce craft generate brew assemble
many       numerous
merge      amalgamate consolidate
message    msg memo
need       require
newest     freshest
next       upcoming subsequent
one        single
open       unresolved
pay        repay
pick       opt
present    attending
previous   prior former
raise      heighten
record     capture jot
reduce     curtail slash
remaining  leftovers
remove     demolish retract uninstall unlist peel pluck
rename     rebrand
replace    supersede
restart    reboot
rise       soar
rotate     spin swivel
run        execute sprint
same       alike
save       persist rescue
search     scan comb
sell       vend
send       dispatch deliver transmit
shortest   briefest
show       expose exhibit unveil
start      commence initiate
stop       cease
summary    recap synopsis digest
take       seize confiscate steal nab
tell       inform notify
text       wording
unique     nonrepeating
uppercase  shouty
use        utilize employ
waste      squander
who        whom
without    sans
words      vocabulary
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
