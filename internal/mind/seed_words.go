package mind

import (
	"slices"
	"strings"
)

// splitWords takes a name apart at underscores and at capitals, in small
// letters: maxSpeed and max_speed are both max, speed. Digits stay with the
// word they follow.
func splitWords(name string) []string {
	var out []string
	word := []byte{}
	flush := func() {
		if len(word) > 0 {
			out = append(out, string(word))
			word = word[:0]
		}
	}
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c == '_' || c == '*':
			flush()
		case c >= 'A' && c <= 'Z':
			if i > 0 && (name[i-1] < 'A' || name[i-1] > 'Z') {
				flush()
			}
			word = append(word, c+'a'-'A')
		default:
			word = append(word, c)
		}
	}
	flush()
	return out
}

var irregular = map[string]string{
	"people": "person", "children": "child", "men": "man", "women": "woman", "mice": "mouse", "feet": "foot",
	"teeth": "tooth", "geese": "goose", "indices": "index", "matrices": "matrix", "vertices": "vertex",
	"leaves": "leaf", "wolves": "wolf", "shelves": "shelf", "halves": "half", "lives": "life", "knives": "knife",
	"wives": "wife", "thieves": "thief", "movies": "movie", "cookies": "cookie", "zombies": "zombie",
	"ties": "tie", "pies": "pie", "series": "series", "species": "species", "news": "news", "status": "status", "bus": "bus", "buses": "bus", "gases": "gas", "lenses": "lens", "glasses": "glass",
	"gas": "gas", "bonus": "bonus", "radius": "radius", "address": "address", "data": "data", "criteria": "criterion",
	"analyses": "analysis", "axes": "axis", "bases": "base", "courses": "course", "houses": "house", "horses": "horse",
	"expenses": "expense", "purchases": "purchase", "exercises": "exercise", "phrases": "phrase", "uses": "use",
	"cases": "case", "phases": "phase", "vases": "vase", "noses": "nose", "roses": "rose", "nurses": "nurse",
	"licenses": "license", "responses": "response", "causes": "cause", "clauses": "clause", "diseases": "disease",
	"heroes": "hero", "potatoes": "potato", "tomatoes": "tomato", "echoes": "echo", "shoes": "shoe", "toes": "toe",
	"prizes": "prize", "sizes": "size", "breezes": "breeze", "caches": "cache", "aches": "ache",
}

// abbreviations are short forms of words in names.
var abbreviations = map[string]string{
	"temp": "temperature", "qty": "quantity", "num": "number", "msg": "message", "desc": "description", "addr": "address",
	"acct": "account", "amt": "amount", "pos": "position", "dept": "department", "lvl": "level", "pts": "points", "tel": "telephone",
	"pwd": "password", "img": "image", "cfg": "config", "avg": "average", "tot": "total", "hp": "health", "mins": "minute", "secs": "second", "hrs": "hour", "yrs": "year",
	"fname": "firstname", "lname": "lastname", "emp": "employee", "cust": "customer", "prod": "product", "cat": "cat", "cnt": "count",
}

// singular gives the base form of a noun: books is book, entries is entry.
func singular(w string) string {
	if s, ok := irregular[w]; ok {
		return s
	}
	if s, ok := abbreviations[w]; ok {
		return s
	}
	if s, ok := abbreviations[strings.TrimSuffix(w, "s")]; ok {
		return s
	}
	switch {
	case len(w) < 4 || !strings.HasSuffix(w, "s") || strings.HasSuffix(w, "ss") || strings.HasSuffix(w, "us") || strings.HasSuffix(w, "is"):
		return w
	case strings.HasSuffix(w, "ies"):
		return w[:len(w)-3] + "y"
	case strings.HasSuffix(w, "sses"), strings.HasSuffix(w, "shes"), strings.HasSuffix(w, "ches"), strings.HasSuffix(w, "xes"), strings.HasSuffix(w, "zzes"):
		return w[:len(w)-2]
	}
	return w[:len(w)-1]
}

func singulars(ws []string) []string {
	out := make([]string, len(ws))
	for i, w := range ws {
		out[i] = singular(w)
	}
	return out
}

// participle reports whether state is what becomes of a thing by verb: lock
// makes locked, hide hidden, stop stopped.
func participle(verb, state string) bool {
	if verb == state {
		return true
	}
	switch n := len(verb); {
	case n < 2:
		return false
	case state == verb+"ed", state == verb+"d", state == verb+"n", state == verb+"ing":
		return true
	case verb[n-1] == 'e' && (state == verb[:n-1]+"ing" || state == verb[:n-1]+"en"):
		return true
	case verb[n-1] == 'y' && state == verb[:n-1]+"ied":
		return true
	case state == verb+verb[n-1:]+"ed" || state == verb+verb[n-1:]+"ing":
		return true
	}
	return slices.Contains(oddParticiples[verb], state)
}

var oddParticiples = map[string][]string{
	"hide": {"hidden"}, "freeze": {"frozen"}, "sell": {"sold"}, "pay": {"paid"}, "break": {"broken"}, "light": {"lit"},
	"start": {"running", "on", "active"}, "finish": {"done", "complete", "over"}, "complete": {"done", "finished"}, "send": {"sent"}, "win": {"won"},
	"activate": {"active"}, "enable": {"on", "active"}, "wake": {"awake"}, "sleep": {"asleep"}, "kill": {"dead"}, "show": {"visible", "shown"},
	"hang": {"hung"}, "read": {"read"}, "revive": {"alive"}, "fill": {"full"}, "dirty": {"dirty"}, "clean": {"clean"},
	"shut": {"closed", "shut"}, "light_up": {"lit"}, "choose": {"chosen"}, "take": {"taken"}, "wear": {"worn"}, "build": {"built"},
	"set": {"set"}, "run": {"running"}, "buy": {"bought"}, "open": {"open"}, "check": {"done"}, "lend": {"lent"}, "borrow": {"lent"},
	"marry": {"married"}, "switch_on": {"on"}, "boil": {"hot"}, "heat": {"hot"}, "wet": {"wet"}, "dry": {"dry"}, "arm": {"armed"},
	"publish": {"public", "live"}, "connect": {"online"}, "register": {"member"}, "charge": {"full"}, "verify": {"valid"}, "authenticate": {"authorized"},
	"settle": {"paid"}, "silence": {"muted", "silent"}, "hush": {"muted", "silent"}, "bolt": {"locked"}, "secure": {"locked"}, "slay": {"dead"},
	"resurrect": {"alive"}, "starve": {"hungry"}, "board": {"aboard"}, "rent": {"rented", "taken"}, "book": {"booked", "reserved"}, "claim": {"taken"},
	"admit": {"inside"}, "launch": {"live", "running"}, "release": {"public", "out"},
}

// opposite verbs: what the first of a pair makes, the second undoes.
var opposites = func() map[string]string {
	m := map[string]string{}
	for _, p := range []string{
		"open close", "open shut", "lock unlock", "start stop", "start halt", "show hide", "reveal hide", "mute unmute", "pause resume",
		"pause unpause", "pause continue", "pause play", "play stop", "play pause", "arm disarm", "connect disconnect", "publish unpublish",
		"publish retract", "freeze unfreeze", "freeze thaw", "freeze melt", "block unblock", "ban unban", "pin unpin", "star unstar",
		"like unlike", "hide unhide", "select deselect", "select unselect", "check uncheck", "fold unfold", "wrap unwrap", "pack unpack",
		"lend return", "borrow return", "kill revive", "wake sleep", "fill empty", "fill drain", "charge discharge", "load unload", "enable disable", "activate deactivate",
		"complete reopen", "finish reopen", "complete undo", "close open", "close reopen", "close unlock", "archive unarchive", "archive restore",
		"subscribe unsubscribe", "install uninstall", "attach detach", "mount unmount", "park unpark", "park drive", "dock undock", "land launch", "break repair",
		"break fix", "break mend", "clean soil", "dirty clean", "dirty wash", "wet dry", "heat cool", "inflate deflate", "extend retract", "raise lower", "book cancel",
		"reserve release", "reserve free", "occupy free", "occupy vacate", "take release", "approve reject", "approve disapprove", "trust distrust", "hire fire", "ship return",
		"register unregister", "verify reject", "delete restore", "cancel reinstate", "flag unflag", "follow unfollow", "expand collapse", "maximize minimize", "light extinguish",
		"marry divorce", "feed starve", "boot shutdown", "run stop", "run halt", "equip unequip", "wear remove", "dim brighten", "engage disengage", "plug unplug", "seal unseal", "bookmark unbookmark", "schedule unschedule", "silence unsilence",
		"revive die", "revive perish", "revive slay", "open slam", "light douse", "light quench", "activate retire", "start kill", "start quit", "start end",
		"admit expel", "promote demote", "join leave", "occupy evacuate", "subscribe cancel", "enable suspend", "activate suspend", "authorize revoke",
	} {
		do, undo, _ := strings.Cut(p, " ")
		m[undo] = m[undo] + " " + do
		m[do] = m[do] + " " + undo
	}
	return m
}()

// undoes reports whether verb takes a thing out of state.
func undoes(verb, state string) bool {
	for _, prefix := range []string{"un", "dis", "de"} {
		if rest, ok := strings.CutPrefix(verb, prefix); ok && len(rest) > 2 && participle(rest, state) {
			return true
		}
	}
	for _, do := range strings.Fields(opposites[verb]) {
		if participle(do, state) {
			return true
		}
	}
	return false
}

// seedRoles are what the name of a slot gives away without being mentioned: a
// limit, a price, a first name. The model reads the role, never the name.
var seedRoles = roleTable(`
limit     limit capacity max maximum cap goal target quota ceiling
floor     min minimum floor threshold
first     first first_name firstname forename given_name
last      last last_name lastname surname family_name
title     title
author    author writer
name      name id key code label task text item product word username
id        id key
price     price cost fee charge
qty       quantity count qty amount number units stock pieces copies
money     balance money cash savings funds account principal credit deposit capital
rate      rate tax interest vat percent tip
discount  discount rebate reduction
length    length len long
width     width w breadth
height    height h
depth     depth d
side      side edge
radius    radius r
distance  distance km kilometers miles mileage
time      time duration
seconds   seconds secs
minutes   minutes mins
hours     hours hrs
days      days
years     years
speed     speed velocity pace
age       age
year      year born founded released published birth_year
level     level
xp        xp experience exp
weight    weight mass
current   current active selected state status mode phase now chosen playing turn
set       tags labels members categories permissions roles friends favorites favourites followers subscribers badges skills keywords allergies interests hobbies rights genres
`)

type roleRule struct {
	role  string
	words []string
}

func roleTable(text string) []roleRule {
	var out []roleRule
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) > 1 {
			out = append(out, roleRule{f[0], f[1:]})
		}
	}
	return out
}

// SeedRoles lists the roles that a slot's or field's name can give away.
func SeedRoles() []string {
	out := make([]string, len(seedRoles))
	for i, r := range seedRoles {
		out[i] = r.role
	}
	return out
}

// roleMask says for which values a role can be given away.
type roleMask uint8

const (
	noRole     roleMask = 0
	numberRole roleMask = 1 << (iota - 1)
	textRole
	listRole
)

func roleKind(t SeedType) roleMask {
	switch t {
	case SeedInt, SeedFloat, SeedNumber:
		return numberRole
	case SeedStr:
		return textRole
	case SeedNumbers, SeedStrs, SeedList:
		return listRole
	}
	return noRole
}

func roleKinds(role string) roleMask {
	switch role {
	case "first", "last", "title", "author", "name":
		return textRole
	case "set":
		return listRole
	case "current":
		return numberRole | textRole
	}
	return numberRole
}

// SeedRolesOf lists the roles that a value of type t can have.
func SeedRolesOf(t SeedType) []string {
	var out []string
	for _, r := range seedRoles {
		if roleKinds(r.role)&roleKind(t) != 0 {
			out = append(out, r.role)
		}
	}
	return out
}

// SeedSingular gives the base form of a name's last word.
func SeedSingular(name string) string { return singular(name) }

// roleOf is the role of a name with a value of type t, or "". The first and
// the last word of the name count: max_size and size_limit are limits.
func roleOf(name string, t SeedType) string {
	words := splitWords(name)
	if len(words) == 0 {
		return ""
	}
	kind := roleKind(t)
	if kind == noRole {
		return ""
	}
	find := func(w string) string {
		for _, r := range seedRoles {
			if roleKinds(r.role)&kind != 0 && slices.Contains(r.words, w) {
				return r.role
			}
		}
		return ""
	}
	if r := find(strings.Join(words, "_")); r != "" {
		return r
	}
	switch first := find(words[0]); first {
	case "limit", "floor", "current":
		return first
	}
	return find(words[len(words)-1])
}

// affinities say which slot a verb is about that names none: heal is about
// health, refuel about fuel.
var affinities = []struct{ verbs, slots []string }{
	{strings.Fields("heal hurt damage injure wound harm hit attack"), strings.Fields("health hp lives life hit_points hitpoints")},
	{strings.Fields("accelerate brake speed"), strings.Fields("speed velocity")},
	{strings.Fields("refuel burn tank drive"), strings.Fields("fuel gas petrol tank")},
	{strings.Fields("charge recharge discharge drain"), strings.Fields("battery charge energy power")},
	{strings.Fields("deposit withdraw spend earn pay credit debit save buy donate afford can"), strings.Fields("balance money cash gold coins funds wallet credits savings budget")},
	{strings.Fields("birthday celebrate grow older"), strings.Fields("age")},
	{strings.Fields("promote demote"), strings.Fields("level rank grade")},
	{strings.Fields("restock sell stock"), strings.Fields("stock quantity inventory units")},
	{strings.Fields("score"), strings.Fields("score points goals")},
	{strings.Fields("heat cool warm chill"), strings.Fields("temperature degrees heat")},
	{strings.Fields("climb descend rise sink"), strings.Fields("altitude height depth")},
	{strings.Fields("feed eat"), strings.Fields("hunger food weight")},
	{strings.Fields("greet welcome hello introduce"), strings.Fields("name title")},
	{strings.Fields("rename call"), strings.Fields("name title label")},
	{strings.Fields("retitle entitle"), strings.Fields("title")},
	{strings.Fields("relabel"), strings.Fields("label")},
	{strings.Fields("paint repaint dye tint recolor"), strings.Fields("color colour")},
	{strings.Fields("older younger"), strings.Fields("age")},
	{strings.Fields("heavier lighter"), strings.Fields("weight mass")},
	{strings.Fields("taller"), strings.Fields("height size")},
	{strings.Fields("longer shorter"), strings.Fields("length height duration")},
	{strings.Fields("faster slower"), strings.Fields("speed velocity pace")},
	{strings.Fields("hotter warmer colder cooler"), strings.Fields("temperature degrees")},
	{strings.Fields("dearer cheaper expensive"), strings.Fields("price cost")},
	{strings.Fields("richer poorer"), strings.Fields("balance money cash gold coins wealth")},
	{strings.Fields("discount"), strings.Fields("price cost")},
	{strings.Fields("rotate turn"), strings.Fields("angle heading direction")},
	{strings.Fields("like unlike upvote downvote vote"), strings.Fields("likes votes upvotes score")},
	{strings.Fields("train learn study"), strings.Fields("skill xp experience knowledge")},
	{strings.Fields("louder quieter"), strings.Fields("volume loudness")},
	{strings.Fields("brighten dim"), strings.Fields("brightness")},
	{strings.Fields("available sold stocked reorder out"), strings.Fields("stock quantity inventory units available copies")},
	{strings.Fields("alive dead die kill dying"), strings.Fields("health hp lives life hit_points hitpoints alive")},
	{strings.Fields("adult minor child legal old young underage"), strings.Fields("age")},
	{strings.Fields("leap"), strings.Fields("year")},
	{strings.Fields("hot cold freezing boiling fahrenheit celsius"), strings.Fields("temperature degrees celsius fahrenheit")},
	{strings.Fields("drive travel run walk ride fly hike swim sail"), strings.Fields("mileage distance odometer kilometers miles km")},
	{strings.Fields("rich poor broke"), strings.Fields("balance money cash gold coins funds wallet credits savings budget")},
}

// SeedRoleOf is the role that a name gives away for a value of type t, or "".
func SeedRoleOf(name string, t SeedType) string { return roleOf(name, t) }

// SeedRoleWords are names that give a role away.
func SeedRoleWords(role string) []string {
	for _, r := range seedRoles {
		if r.role == role {
			return slices.Clone(r.words)
		}
	}
	return nil
}
