package mcp

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"batos"
	"batos/internal/door/access"
	"batos/internal/door/view"
)

// Resources are batos://object/NAME, an object as JSON, and
// batos://object/NAME/SELECTOR, the source of one of its methods.
const (
	objectURI  = "batos://object/"
	typeJSON   = "application/json"
	typeSource = "text/x-starlark"
)

func (d *door) listResources(ctx context.Context, r *mcp.ListResourcesRequest) (*mcp.ListResourcesResult, error) {
	if _, err := d.may(r.Extra, access.Read); err != nil {
		return nil, err
	}
	tools, err := d.config.Kernel.Tools(ctx)
	if err != nil {
		return nil, err
	}
	out := &mcp.ListResourcesResult{Resources: []*mcp.Resource{}}
	last := ""
	for _, t := range tools {
		if t.Object != last {
			last = t.Object
			out.Resources = append(out.Resources, &mcp.Resource{URI: objectURI + t.Object, Name: t.Object, MIMEType: typeJSON, Description: "the object " + t.Object})
		}
		out.Resources = append(out.Resources, &mcp.Resource{
			URI: objectURI + t.Object + "/" + string(t.Selector), Name: t.Object + "." + string(t.Selector), MIMEType: typeSource, Description: t.Doc,
		})
	}
	return out, nil
}

func (d *door) listTemplates(r *mcp.ListResourceTemplatesRequest) (*mcp.ListResourceTemplatesResult, error) {
	if _, err := d.may(r.Extra, access.Read); err != nil {
		return nil, err
	}
	return &mcp.ListResourceTemplatesResult{ResourceTemplates: []*mcp.ResourceTemplate{
		{URITemplate: objectURI + "{target}", Name: "object", MIMEType: typeJSON, Description: "an object by name, path or oid"},
		{URITemplate: objectURI + "{target}/{selector}", Name: "method", MIMEType: typeSource, Description: "the source of a method"},
	}}, nil
}

func (d *door) readResource(ctx context.Context, r *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
	if _, err := d.may(r.Extra, access.Read); err != nil {
		return nil, err
	}
	path, ok := strings.CutPrefix(r.Params.URI, objectURI)
	if !ok || path == "" {
		return nil, mcp.ResourceNotFoundError(r.Params.URI)
	}
	target, selector, wantsMethod := strings.Cut(path, "/")
	in, err := d.config.Kernel.Inspect(ctx, batos.Ref{Name: target}, 0)
	if err != nil {
		if c := batos.CodeOf(err); c == batos.NotFound || c == batos.NoSlot || c == batos.Invalid {
			return nil, mcp.ResourceNotFoundError(r.Params.URI)
		}
		return nil, err
	}
	o := view.Object(in)
	if !wantsMethod {
		b, err := json.Marshal(o)
		if err != nil {
			return nil, err
		}
		return one(r.Params.URI, typeJSON, string(b)), nil
	}
	for _, m := range o.Methods {
		if m.Selector == selector {
			return one(r.Params.URI, typeSource, m.Source), nil
		}
	}
	return nil, mcp.ResourceNotFoundError(r.Params.URI)
}

func one(uri, kind, text string) *mcp.ReadResourceResult {
	return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: uri, MIMEType: kind, Text: text}}}
}
