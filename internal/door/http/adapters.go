package http

import (
	"net/http"
	"path/filepath"

	"batos"
	"batos/internal/adapter"
	"batos/internal/door/access"
	"batos/internal/kernel"
	"batos/internal/memory"
	"batos/internal/wire"
)

// route adds one path to the door.
type route func(pattern string, scope access.Scope, fn func(*http.Request) (any, error))

func (s *Server) adapterRoutes(handle route) {
	handle("GET /api/v1/adapters", access.Read, s.adapters)
	handle("POST /api/v1/adapters", access.Admin, s.importAdapters)
	handle("POST /api/v1/adapters/{name}/export", access.Admin, s.exportAdapter)
	handle("POST /api/v1/adapters/{name}/{tier}", access.Admin, s.moveAdapter)
	handle("GET /api/v1/models", access.Read, s.models)
	handle("POST /api/v1/models", access.Admin, s.importModel)
	handle("POST /api/v1/models/{name}/use", access.Admin, s.useModel)
}

func (s *Server) adapters(r *http.Request) (any, error) {
	all, u, err := s.config.Kernel.Adapters(r.Context())
	if err != nil {
		return nil, err
	}
	out := wire.Adapters{Adapters: []wire.Adapter{}, Tiers: wire.Tiers{Warm: u.Warm, WarmBudget: u.WarmBudget, Hot: u.Hot, HotBudget: u.HotBudget, Thrash: u.Thrash}}
	for _, a := range all {
		out.Adapters = append(out.Adapters, *adapterOf(a))
	}
	return out, nil
}

func adapterOf(a kernel.Adapter) *wire.Adapter {
	out := &wire.Adapter{
		OID: a.OID.String(), Name: a.Name, Persona: a.Persona, Hash: a.Hash, Base: a.Base, Fits: a.Fits, Rank: a.Rank, Alpha: a.Alpha, Targets: a.Targets,
		Parameters: a.Parameters, Origin: a.Origin, Bytes: a.Bytes, Tier: string(a.State.Tier), Hits: a.State.Hits,
	}
	if !a.State.LastUse.IsZero() {
		out.LastUse = &a.State.LastUse
	}
	return out
}

// importAdapters imports whatever adapters are at a path of this machine. One
// that cannot be used is told with its reason; the others are imported.
func (s *Server) importAdapters(r *http.Request) (any, error) {
	var in wire.ImportAdapters
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(in.Path) {
		return nil, batos.Errorf(batos.Invalid, "path %.80q must be absolute: it is of the server's machine", in.Path)
	}
	found, err := adapter.Find(in.Path)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, batos.Errorf(batos.NotFound, "there are no adapters in %s", in.Path)
	}
	if in.Name != "" && len(found) > 1 {
		return nil, batos.Errorf(batos.Invalid, "there are %d adapters in %s; a name is for one", len(found), in.Path)
	}
	out := wire.ImportedAdapters{}
	for _, f := range found {
		if in.Name != "" {
			f.Name = in.Name
		}
		one := wire.ImportedAdapter{File: f.Weights}
		a, added, err := s.config.Kernel.ImportFound(r.Context(), person(r), f, in.Alpha, in.Persona)
		if err != nil {
			if batos.CodeOf(err) == "" || len(found) == 1 {
				return nil, err
			}
			one.Error = &wire.Error{Code: batos.CodeOf(err), Message: err.Error()}
		} else {
			one.Added, one.Adapter = added, adapterOf(a)
		}
		out.Imported = append(out.Imported, one)
	}
	return out, nil
}

func (s *Server) exportAdapter(r *http.Request) (any, error) {
	var in wire.ExportAdapter
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(in.Folder) {
		return nil, batos.Errorf(batos.Invalid, "folder %.80q must be absolute: it is of the server's machine", in.Folder)
	}
	a, path, err := s.config.Kernel.ExportAdapter(r.Context(), r.PathValue("name"), in.Folder, in.GGUF)
	if err != nil {
		return nil, err
	}
	return wire.ExportedAdapter{Adapter: *adapterOf(a), Path: path}, nil
}

func (s *Server) moveAdapter(r *http.Request) (any, error) {
	tier := memory.Tier(r.PathValue("tier"))
	if tier != memory.Hot && tier != memory.Warm && tier != memory.Cold {
		return nil, batos.Errorf(batos.NotFound, "there is no tier %.40q; there are hot, warm and cold", tier)
	}
	a, err := s.config.Kernel.MoveAdapter(r.Context(), r.PathValue("name"), tier)
	if err != nil {
		return nil, err
	}
	return adapterOf(a), nil
}

func (s *Server) models(r *http.Request) (any, error) {
	all, err := s.config.Kernel.Models(r.Context())
	if err != nil {
		return nil, err
	}
	out := wire.Models{Models: []wire.Model{}}
	for _, m := range all {
		out.Models = append(out.Models, modelOf(m))
	}
	return out, nil
}

func modelOf(m kernel.StoredModel) wire.Model {
	return wire.Model{Name: m.Name, Hash: m.Hash, Bytes: m.Bytes, Architecture: m.Architecture, Context: m.Context, Parameters: m.Parameters, InUse: m.InUse}
}

func (s *Server) importModel(r *http.Request) (any, error) {
	var in wire.ImportModel
	if err := read(r, &in); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(in.Path) {
		return nil, batos.Errorf(batos.Invalid, "path %.80q must be absolute: it is of the server's machine", in.Path)
	}
	m, err := s.config.Kernel.ImportModel(r.Context(), person(r), in.Name, in.Path)
	if err != nil {
		return nil, err
	}
	return modelOf(m), nil
}

func (s *Server) useModel(r *http.Request) (any, error) {
	m, err := s.config.Kernel.SwitchModel(r.Context(), person(r), r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return modelOf(m), nil
}
