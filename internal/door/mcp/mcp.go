// Package mcp is the door for agents that speak the Model Context Protocol.
// The methods that an image exports are tools, its objects and methods are
// resources, and a tool that nobody has yet becomes a mission.
//
// The official SDK speaks both eras of the protocol: with sessions and, since
// 2026-07-28, without. This door keeps no state between requests in either, so
// what a client sees is always the image as it is. docs/mcp.md is the guide.
//
// Read in this order: [Config] and [Handler]; tools.go, the tools and what a
// call does; tasks.go, calls that take long; resources.go.
package mcp

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"batos"
	"batos/internal/door/access"
	"batos/internal/kernel"
)

// Config is what the door needs.
type Config struct {
	Kernel  *kernel.Kernel
	Keys    *access.Keyring
	Release string
	Log     *slog.Logger

	// TaskAfter is how long a call of a client that takes tasks is waited for
	// before it becomes one. 0: a second.
	TaskAfter time.Duration
}

type door struct{ config Config }

const instructions = `This server is a living image: objects with slots that answer messages. Tools named OBJECT-SELECTOR send one object one message.
The tool "send" reaches every object. If an object has no method for a message, and this token may, the system writes the method, proves it, and then answers; that takes a moment.
A call that takes too long says so and gives an id; ask the tool "outcome" for it.`

// maxBody bounds a request, in bytes.
const maxBody = 16 << 20

// Handler answers MCP over streamable HTTP.
func Handler(c Config) http.Handler {
	if c.TaskAfter <= 0 {
		c.TaskAfter = taskAfter
	}
	d := &door{c}
	can := &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}, Resources: &mcp.ResourceCapabilities{}}
	can.AddExtension(tasksExtension, map[string]any{})
	s := mcp.NewServer(&mcp.Implementation{Name: "batos", Title: "BAT OS", Version: c.Release}, &mcp.ServerOptions{
		Instructions: instructions,
		Logger:       c.Log,
		Capabilities: can,
	})
	if err := d.serveTasks(s); err != nil {
		panic(err) // the names are no standard methods
	}
	s.AddReceivingMiddleware(d.receive)
	return mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{
		Stateless: true, Logger: c.Log, MaxRequestBodyBytes: maxBody, PropagateRequestCancellation: true,
	})
}

// receive answers what depends on the image; the rest is the SDK's.
func (d *door) receive(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, req mcp.Request) (mcp.Result, error) {
		switch r := req.(type) {
		case *mcp.ListToolsRequest:
			return answer(d.listTools(ctx, r))
		case *mcp.CallToolRequest:
			return d.call(ctx, r)
		case *mcp.ListResourcesRequest:
			return answer(d.listResources(ctx, r))
		case *mcp.ListResourceTemplatesRequest:
			return answer(d.listTemplates(r))
		case *mcp.ReadResourceRequest:
			return answer(d.readResource(ctx, r))
		}
		return next(context.WithValue(ctx, extraKey{}, req.GetExtra()), method, req)
	}
}

// answer keeps a nil result from becoming a result that is not nil.
func answer[R mcp.Result](r R, err error) (mcp.Result, error) {
	if err != nil {
		return nil, err
	}
	return r, nil
}

// caller is who sends a request.
func (d *door) caller(extra *mcp.RequestExtra) (*access.Caller, error) {
	if extra == nil {
		return nil, batos.Errorf(batos.Denied, "the request carries no token")
	}
	return d.config.Keys.Caller(access.Token(extra.Header))
}

// may is caller for a request that needs a scope.
func (d *door) may(extra *mcp.RequestExtra, s access.Scope) (*access.Caller, error) {
	who, err := d.caller(extra)
	if err == nil {
		err = who.May(s)
	}
	return who, err
}
