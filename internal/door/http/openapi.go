package http

import (
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"batos"
	"batos/internal/door/access"
	"batos/internal/wire"
)

// operation describes a route of /api/v1 for the OpenAPI document. A test
// holds the list to the routes that there are.
type operation struct {
	pattern string // as in routes
	scope   access.Scope
	about   string
	query   string // names of its query parameters, separated by blanks
	in, out any    // zero values of its body and answer; nil for none
}

var operations = []operation{
	{"GET /api/v1/status", access.Read, "What runs here: release, image, model.", "", nil, wire.Status{}},
	{"POST /api/v1/send", access.Send, "Send a message. With wait its outcome is waited for, through missions; 202 says that it is not final yet.", "", wire.Send{}, wire.Outcome{}},
	{"GET /api/v1/messages/{id}", access.Read, "What became of a message.", "wait", nil, wire.Outcome{}},
	{"POST /api/v1/objects", access.Admin, "Make an object with a name.", "", wire.New{}, wire.Created{}},
	{"GET /api/v1/objects/{target}", access.Read, "Show an object by name, path or oid, now or at a moment.", "at", nil, wire.Object{}},
	{"PUT /api/v1/objects/{target}/slots/{slot}", access.Admin, "Set a slot.", "", wire.Set{}, wire.Changed{}},
	{"POST /api/v1/objects/{target}/methods", access.Admin, "Define methods, and slots beside them, from source.", "", wire.Def{}, wire.Defined{}},
	{"POST /api/v1/eval", access.Admin, "Evaluate an expression.", "", wire.Eval{}, wire.Result{}},
	{"GET /api/v1/log", access.Read, "Transactions, the newest first.", "target before limit", nil, wire.Log{}},
	{"GET /api/v1/diff", access.Read, "What two moments differ in.", "from to", nil, wire.Diff{}},
	{"POST /api/v1/undo", access.Admin, "Take back a transaction.", "", wire.Undo{}, wire.Changed{}},
	{"GET /api/v1/missions", access.Read, "The newest missions, the newest last; more says that there are older ones.", "limit", nil, wire.Missions{}},
	{"GET /api/v1/missions/{oid}", access.Read, "One mission with its record.", "", nil, wire.Mission{}},
	{"POST /api/v1/missions/{oid}/{verb}", access.Admin, "Decide about a mission: approve, reject, cancel or undo.", "", wire.Decision{}, wire.Mission{}},
	{"GET /api/v1/lessons", access.Admin, "The golden set of the image.", "", nil, wire.Lessons{}},
	{"GET /api/v1/forge/jobs", access.Admin, "Training jobs.", "", nil, wire.Jobs{}},
	{"POST /api/v1/forge/jobs", access.Admin, "Begin a training job.", "", wire.Train{}, wire.Job{}},
	{"GET /api/v1/codex", access.Read, "The Persona Codex.", "", nil, wire.Codex{}},
	{"PUT /api/v1/codex", access.Admin, "Load another codex.", "", wire.Codex{}, wire.Codex{}},
	{"POST /api/v1/image/{verb}", access.Admin, "Care for the image: verify, stats, pack, backup or export. The answer is lines of JSON: progress, and in the end the result.", "", wire.Care{}, wire.CareEvent{}},
	{"GET /api/v1/events", access.Read, "What happens, as server-sent events.", "after", nil, wire.Event{}},
	{"GET /api/v1/names", access.Read, "The names of objects.", "", nil, wire.Names{}},
	{"GET /api/v1/adapters", access.Read, "The adapters of the image and their tiers.", "", nil, wire.Adapters{}},
	{"POST /api/v1/adapters", access.Admin, "Import adapters from a path of the server's machine.", "", wire.ImportAdapters{}, wire.ImportedAdapters{}},
	{"POST /api/v1/adapters/{name}/export", access.Admin, "Write an adapter into a folder of the server's machine.", "", wire.ExportAdapter{}, wire.ExportedAdapter{}},
	{"POST /api/v1/adapters/{name}/{tier}", access.Admin, "Bring an adapter into a tier: hot, warm or cold.", "", nil, wire.Adapter{}},
	{"GET /api/v1/models", access.Read, "The models of the image.", "", nil, wire.Models{}},
	{"POST /api/v1/models", access.Admin, "Import a model from a path of the server's machine.", "", wire.ImportModel{}, wire.Model{}},
	{"POST /api/v1/models/{name}/use", access.Admin, "Use a model from now on.", "", nil, wire.Model{}},
	{"GET /api/v1/tokens", access.Admin, "The tokens that were given away.", "", nil, wire.Tokens{}},
	{"POST /api/v1/tokens", access.Admin, "Give a token away; its secret is told once.", "", wire.NewToken{}, wire.GivenToken{}},
	{"DELETE /api/v1/tokens/{name}", access.Admin, "Take a token back.", "", nil, nil},
	{"GET /api/v1/openapi.json", access.Read, "This document.", "", nil, nil},
}

// node is a piece of JSON.
type node = map[string]any

// openAPI describes the door in OpenAPI 3.1.
func (s *Server) openAPI(*http.Request) (any, error) {
	d := describer{schemas: node{}}
	paths := map[string]node{}
	failure := node{"description": "an error, with its code", "content": jsonContent(d.schema(reflect.TypeOf(wire.Problem{})))}
	for _, o := range operations {
		method, path, _ := strings.Cut(o.pattern, " ")
		op := node{
			"summary": o.about, "operationId": operationID(o.pattern), "security": []node{{"token": []string{string(o.scope)}}},
			"responses": node{"default": failure},
		}
		ok := node{"description": "done"}
		if o.out != nil {
			kind := "application/json"
			if o.pattern == "GET /api/v1/events" {
				kind = "text/event-stream"
			}
			ok["content"] = node{kind: node{"schema": d.schema(reflect.TypeOf(o.out))}}
		}
		op["responses"].(node)[strconv.Itoa(http.StatusOK)] = ok
		if o.in != nil {
			op["requestBody"] = node{"required": true, "content": jsonContent(d.schema(reflect.TypeOf(o.in)))}
		}
		var parameters []node
		for _, m := range placeholder.FindAllStringSubmatch(path, -1) {
			parameters = append(parameters, node{"name": m[1], "in": "path", "required": true, "schema": node{"type": "string"}})
		}
		for _, name := range strings.Fields(o.query) {
			parameters = append(parameters, node{"name": name, "in": "query", "schema": node{"type": "string"}})
		}
		if parameters != nil {
			op["parameters"] = parameters
		}
		if paths[path] == nil {
			paths[path] = node{}
		}
		paths[path][strings.ToLower(method)] = op
	}
	return node{
		"openapi": "3.1.0",
		"info": node{
			"title": "BAT OS", "version": s.config.Release,
			"description": "A living image for language-model agents. Values are JSON where JSON can say it; {\"$ref\": \"0x12a\"}, {\"$bytes\": …}, {\"$int\": …}, {\"$tuple\": …}, {\"$set\": …}, {\"$time\": …} and their like where it cannot.",
		},
		"servers":    []node{{"url": s.URL()}},
		"paths":      paths,
		"components": node{"schemas": d.schemas, "securitySchemes": node{"token": node{"type": "http", "scheme": "bearer", "description": "the file token in the image folder, or batos token new; scopes read, send, synthesize, admin"}}},
	}, nil
}

var placeholder = regexp.MustCompile(`\{([a-z]+)\}`)

func jsonContent(schema node) node { return node{"application/json": node{"schema": schema}} }

// operationID is a name for clients that are generated: getObjectsTarget.
func operationID(pattern string) string {
	method, path, _ := strings.Cut(pattern, " ")
	id := strings.ToLower(method)
	for _, part := range strings.FieldsFunc(strings.TrimPrefix(path, "/api/v1"), func(r rune) bool { return r == '/' || r == '{' || r == '}' || r == '.' }) {
		id += strings.ToUpper(part[:1]) + part[1:]
	}
	return id
}

// describer makes JSON schemas of the types of package wire.
type describer struct{ schemas node }

func (d describer) schema(t reflect.Type) node {
	switch t {
	case reflect.TypeOf(time.Time{}):
		return node{"type": "string", "format": "date-time"}
	case reflect.TypeOf(wire.Value{}):
		return node{"description": "any value"}
	case reflect.TypeOf(batos.Code("")):
		return node{"type": "string", "description": "the code of an error"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.schema(t.Elem())
	case reflect.String:
		return node{"type": "string"}
	case reflect.Bool:
		return node{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return node{"type": "number"}
	case reflect.Slice, reflect.Array:
		return node{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		return node{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		return d.object(t)
	case reflect.Interface:
		return node{}
	}
	return node{"type": "integer"}
}

// object describes a struct once, under its name.
func (d describer) object(t reflect.Type) node {
	ref := node{"$ref": "#/components/schemas/" + t.Name()}
	if d.schemas[t.Name()] != nil {
		return ref
	}
	properties, required := node{}, []string{}
	d.schemas[t.Name()] = node{"type": "object"} // a type that holds itself ends here
	d.fields(t, properties, &required)
	d.schemas[t.Name()] = node{"type": "object", "properties": properties, "required": required}
	return ref
}

func (d describer) fields(t reflect.Type, properties node, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			d.fields(f.Type, properties, required)
			continue
		case !f.IsExported() || name == "-":
			continue
		case name == "":
			name = f.Name
		}
		properties[name] = d.schema(f.Type)
		if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
			*required = append(*required, name)
		}
	}
}
